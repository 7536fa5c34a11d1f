"""What the kernel says about a process and about the whole machine."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_HZ = os.sysconf("SC_CLK_TCK")
BUSY_FIELDS = (0, 2, 5, 6, 7)  # user system irq softirq steal, not nice (see awake); proc(5), /proc/stat


def cpu_s(pid: int) -> float:
    """CPU seconds of every living thread of `pid`, to the nanosecond (/proc/PID/task/*/schedstat)."""
    return sum(int(read.split()[0]) for read in _of_threads(pid, "schedstat")) / 1e9


def machine_cpu_s() -> float:
    """CPU seconds all processors have spent working for anyone, stolen time included; 10 ms steps."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(int(fields[index]) for index in BUSY_FIELDS) / TICKS_HZ


def rss_bytes(pid: int) -> int:
    """Resident memory, shared pages included."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Rss:") * 1024


def private_bytes(pid: int) -> int:
    """Resident memory that would be free again without this process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return (_kib(rollup, "Private_Clean:") + _kib(rollup, "Private_Dirty:")) * 1024


def wakeups(pid: int) -> int:
    """Times a thread of `pid` went to sleep of its own will, and so had to be woken."""
    return sum(_kib(status, "voluntary_ctxt_switches:") for status in _of_threads(pid, "status"))


def _of_threads(pid: int, file: str) -> list[str]:
    return [(task / file).read_text() for task in Path(f"/proc/{pid}/task").iterdir()]


def _kib(text: str, field: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))
