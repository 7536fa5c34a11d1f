"""The wall clock, and whether it may be believed: a board without a battery boots in 1970, or at its last shutdown.

Durations come from the loop's clock; wall time comes from here and is handed down as `now`.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from edged.errors import NotFound, Rejected, StorageError
from edged.files import atomic_write, read_capped
from edged.tasks import OneThread

_log = logging.getLogger(__name__)

BUILT_S: Final = 1_795_305_600.0
"""2026-11-22 UTC: no device that runs this lives before it was written."""

STEP_S: Final = 5.0
"""A wall clock that differs by more from what the uptime says was set, not steered (NTP slews 0.5 ms a second)."""

KEEP_S: Final = 600.0
"""Between two writes of the time: what a power cut takes from the floor."""

FLOOR_FILE_MAX_BYTES: Final = 64
TIMESYNCD_FLAG: Final = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd.service(8), FILES


class Instant(NamedTuple):
    """A moment."""

    wall_s: float
    """Seconds since 1970, never below the clock's floor."""
    trusted: bool
    """Whether a time server has set the clock, and it does not contradict what this device already knows."""
    uptime_s: float
    """Seconds since the boot, the time asleep included: moments of one boot are in order, whatever the clock says."""


def synchronised() -> bool:
    """Whether the kernel was told by a time service that its clock is right, or timesyncd says so itself."""
    return _kernel_synchronised() or TIMESYNCD_FLAG.exists()


class Clock:
    """The device's time; for any thread. `wall` and `uptime` give seconds, `synced` whether somebody set the clock."""

    def __init__(
        self,
        floor_s: float = BUILT_S,
        *,
        wall: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_REALTIME),
        uptime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        synced: Callable[[], bool] = synchronised,
    ) -> None:
        self._wall, self._uptime, self._synced = wall, uptime, synced
        self._floor_s, self._floor_at_s = floor_s, uptime()

    def now(self) -> Instant:
        """The time. Where the clock is below the floor, the time since the floor was set is counted from there."""
        wall_s, uptime_s = self._wall(), self._uptime()
        if wall_s < self._floor_s:
            return Instant(self._floor_s + uptime_s - self._floor_at_s, False, uptime_s)
        return Instant(wall_s, self._synced(), uptime_s)

    def wall_s(self) -> float:
        """Seconds since 1970, as far as this board knows."""
        return self.now().wall_s

    @property
    def floor_s(self) -> float:
        """It is later than this."""
        return self._floor_s

    def raise_floor(self, wall_s: float) -> None:
        """Take note that it is later than this; an earlier moment than is known changes nothing."""
        if wall_s > self._floor_s:
            self._floor_s, self._floor_at_s = wall_s, self._uptime()


def stepped_s(before: Instant, after: Instant) -> float:
    """Seconds by which the clock was set between two moments of one boot; 0.0 where it just ran."""
    step_s = (after.wall_s - before.wall_s) - (after.uptime_s - before.uptime_s)
    return step_s if abs(step_s) > STEP_S else 0.0


def read_floor(path: Path) -> float:
    """The moment kept in `path`, in seconds since 1970; BUILT_S where there is none that can be read.

    Deleting the file is how an operator undoes a floor that a lying time server has set.
    """
    try:
        return max(BUILT_S, float(int(read_capped(path, FLOOR_FILE_MAX_BYTES))))
    except (NotFound, Rejected, ValueError):
        return BUILT_S


def keep_floor(path: Path, instant: Instant) -> None:
    """Keep a moment for the next start, if it is trusted; raises StorageError."""
    if instant.trusted:
        atomic_write(path, b"%d\n" % int(instant.wall_s), 0o644)


async def keep(clock: Clock, path: Path, disk: OneThread) -> None:
    """A service: keep the time every KEEP_S, so that after a power cut it is not earlier than it was before."""
    while True:
        try:
            await disk.run(keep_floor, path, clock.now())
        except StorageError as exc:
            _log.warning("time not kept reason=%s", exc.message)
        await asyncio.sleep(KEEP_S)


class _Timex(ctypes.Structure):
    """struct timex up to the one member read; the kernel writes 208 bytes on 64 bits (linux/timex.h)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex


def _kernel_synchronised() -> bool:
    timex = _Timex()
    state: int = _adjtimex(ctypes.byref(timex))
    if state == -1:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.ENOSYS):  # ProtectClock= of systemd forbids to ask: nothing is known
            return False
        raise OSError(code, os.strerror(code))
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC
