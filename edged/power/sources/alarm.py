"""The Pi's under-voltage alarm as the kernel announces it, so that one shorter than a sample interval is seen too.

drivers/hwmon/raspberrypi-hwmon.c asks the firmware every 2 s whether the supply dipped since, and notifies the
attribute (sysfs_notify) at each change. A thread sleeps in poll(2) until then: no wakeups, nothing missed.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from edged.power.readings import Raw
from edged.power.sources.source import RESCAN_S
from edged.power.sysfs import folders, once


class Undervoltage:
    """`supply.undervoltage`: 1 while the alarm is on, and once more where it was since the last read."""

    name = "undervoltage"

    def __init__(self, root: Path, ring: Callable[[], None] = lambda: None) -> None:
        self._root, self._ring = root, ring
        self._scanned_at_s: float | None = None
        self._watch: Watch | None = None

    def read(self, now: float) -> list[Raw]:
        """Nothing on a board without the driver."""
        if self._watch is None and (self._scanned_at_s is None or now - self._scanned_at_s >= RESCAN_S):
            self._scanned_at_s = now
            for chip in folders(self._root / "sys/class/hwmon", "hwmon*"):
                if once(chip / "name") == "rpi_volt":
                    with contextlib.suppress(OSError):
                        self._watch = Watch(chip / "in0_lcrit_alarm", self._ring)
        if self._watch is None or not self._watch.take():
            return []
        return [Raw("supply.undervoltage", 1.0, "", str(self._watch.path), "since the last look")]

    def close(self) -> None:
        """End the thread."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


class Watch:
    """Waits for a pollable attribute to become other than 0, and rings. OSError where it cannot be opened."""

    def __init__(self, path: Path, ring: Callable[[], None]) -> None:
        self.path = path
        self._ring = ring
        self._seen = threading.Event()
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._wait, name="under-voltage", daemon=True)
        self._thread.start()

    def take(self) -> bool:
        """Whether it rang since the last call."""
        seen = self._seen.is_set()
        self._seen.clear()
        return seen

    def close(self) -> None:
        """End the thread and close what it waits on."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._fd)
        os.close(self._stop)

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLPRI | select.POLLERR)
        waiting.register(self._stop, select.POLLIN)
        while True:
            try:
                text = os.pread(self._fd, 16, 0)  # a read arms the next notification
            except OSError:
                return  # the driver is gone; the plain reading says so
            if text.strip() not in {b"", b"0"}:
                self._seen.set()
                self._ring()
            if any(fd == self._stop for fd, _ in waiting.poll()):
                return
