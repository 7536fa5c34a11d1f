"""Keeping the processors of a virtual machine from halting while something is timed.

A halted virtual CPU is woken by its hypervisor, which takes 40 to 120 us here against some 5 on a board, and whoever
waits for a message pays for it at both ends. A loop of the lowest class on every CPU gives way to any real work and
keeps them running.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# Nice, so that /proc/stat counts it apart (procfs.BUSY_FIELDS); it ends with whoever started it.
LOOP = """\
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1 << 20): pass
"""


@contextmanager
def kept_awake() -> Iterator[None]:
    """Keep every CPU that this process may use from halting."""
    with ExitStack() as keep:
        for cpu in sorted(os.sched_getaffinity(0)):
            loop = keep.enter_context(subprocess.Popen([sys.executable, "-c", LOOP, str(cpu)]))
            keep.callback(loop.kill)
        yield
