"""Keeps what the catalog offers in step with what the library holds.

Every change of a model goes library first (on disk, fsynced), then scheduler, then catalog, so that a
power cut between two of them is healed by the next start. What runs models is loaded with the first of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from edged.errors import NotReady
from edged.inference.library import Library, Slot, State
from edged.inference.manifest import Manifest
from edged.limits import Limits
from edged.mcp.catalog import Catalog
from edged.tasks import Latest, OneThread
from edged.tools.arguments import Sources
from edged.tools.device import Engine, ModelStatus
from edged.tools.models import Entry

log = logging.getLogger(__name__)
T = TypeVar("T")
