"""How long a small call waits while a model runs flat out: whether anything blocks the event loop."""

from __future__ import annotations

import selectors
import time
from contextlib import ExitStack
from typing import NamedTuple

from bench import job, wire
from bench.clients import ANSWER_S, Client, Request, Wrong, line, shared_memory
from bench.harness import Contender, block, clean, interleave, percentile, quietest, repeat
from bench.job import HEIGHT, WIDTH
from bench.peers.process import Running, running
from bench.results import Section, Table, at_most
from bench.rig import Rig
