"""The audit log of a running daemon: acts wait for the disk together, everything else for the next write.

For the event loop's thread, but for `note`. One thread writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edged.audit.chain import OURSELVES, Checkpoint, Event, Record
from edged.audit.config import AuditConfig
from edged.audit.repeats import Repeats
from edged.audit.standing import Standing
from edged.audit.store import Store
from edged.clock import Clock
from edged.errors import StorageError
from edged.tasks import OneThread

_log = logging.getLogger(__name__)

WAITING_MAX: Final = 4096
"""Records that wait for the disk; one more is counted as lost."""
OWED_MAX: Final = 256
"""Acts that made room before there was any for their records."""


@dataclass(eq=False)
class _Entry:
    """One record on its way."""

    event: Event
    urgent: bool = False
    """Somebody waits for it, and is told of an error."""
    vital: bool = False
    repeats: bool = False
    written: bool = False
    error: StorageError | None = None


class Log:
    """An open `Store`, and its thread. `open` first of all services, `close` last."""

    def __init__(self, directory: Path, config: AuditConfig, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._store = Store(directory, config, clock)
        self._thread = OneThread("audit")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Entry] = deque()
        self._owed: deque[Event] = deque(maxlen=OWED_MAX)
        self._repeats = Repeats()
        self._flush: asyncio.TimerHandle | None = None
        self._counts: Counter[str] = Counter()
        self._grown = asyncio.Event()
        self._dropped = 0
        self.fresh_since: float | None = None
        """When, by the loop's clock, the first record came that no checkpoint vouches for."""
        self.fresh = 0
        """Records since the last checkpoint."""
        self.lost = 0
        """Records since the start that the disk or the queue had no room for."""
        self.failing: str | None = None
        """Why the last write failed."""

    async def open(self) -> None:
        """Take up the log; raises StorageError where it can neither be read nor begun."""
        self._loop = asyncio.get_running_loop()
        await self._thread.run(self._store.open)
        self._fresh(max(0, self._store.standing.uncovered - 1))

    async def close(self) -> None:
        """Write what waits, and let go."""
        if self._flush:
            self._flush.cancel()
        if self._loop:
            await self._thread.run(self._write, last=True)
        await self._thread.run(self._store.close)
        self._thread.close()

    async def act(self, event: Event, *, frees: bool = False) -> None:
        """Record what is about to happen; it is on the disk when this returns.

        Raises StorageError: then it must not happen. One that `frees` room on the disk may: its record goes into the
        reserve, and were even that used up, it is written as soon as there is room.
        """
        entry = _Entry(event, urgent=True, vital=frees)
        self._waiting.append(entry)
        try:
            await self.flush()
        except asyncio.CancelledError:
            self._arm()
            raise
        if not entry.written:
            reason = entry.error.message if entry.error else "the audit log failed"
            raise StorageError(f"not done, since it cannot be recorded: {reason}") from entry.error

    def note(self, event: Event, *, repeats: bool = False) -> None:
        """Record what holds up nobody, soon; on any thread. What `repeats` is counted for a minute instead."""
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        self._waiting.append(_Entry(event, repeats=repeats))
        if self._loop and not self._flush:
            try:
                self._loop.call_soon_threadsafe(self._arm)
            except RuntimeError:  # the loop has ended: `close` has written what there was
                _log.debug("noted too late what=%s", event.what)

    def act_from_thread(self, event: Event) -> None:
        """Likewise `act`, on any thread but the loop's."""
        if self._loop is None:
            raise StorageError("the audit log is not open")
        asyncio.run_coroutine_threadsafe(self.act(event), self._loop).result()

    async def flush(self) -> None:
        """Wait until all that waits now is on the disk, or has its error."""
        future = self._thread.run(self._write)
        future.add_done_callback(self._noticed)
        await future

    def count(self, what: str) -> None:
        """Count what is not recorded one by one; the next checkpoint says how often."""
        self._counts[what] += 1

    @property
    def standing(self) -> Standing:
        """Where the log stands."""
        return self._store.standing

    @property
    def reserved(self) -> bool:
        """Whether there is room in reserve."""
        return self._store.reserved

    @property
    def trusted(self) -> bool:
        """Whether the clock is."""
        return self._clock.now().trusted

    async def grown(self) -> None:
        """Wait until something was written."""
        self._grown.clear()
        await self._grown.wait()

    # for the checkpoints

    async def checkpoint(self) -> Checkpoint:
        """What to sign now, with everything written that waits."""
        await self.flush()
        return await self._thread.run(self._store.checkpoint, dict(self._counts))

    async def add_checkpoint(self, checkpoint: Checkpoint, signed: bytes) -> Standing:
        """Put it into the log; the standing then. Raises StorageError."""
        await self._thread.run(self._store.add_checkpoint, signed)
        self._counts.subtract(checkpoint.counts)
        self._counts += Counter()  # drops what is zero
        self.fresh = max(0, self._store.standing.uncovered - 1)
        self.fresh_since = asyncio.get_running_loop().time() if self.fresh else None
        return self._store.standing

    async def re_anchor(self, anchor: bytes) -> Standing:
        """See `Store`."""
        await self._thread.run(self._store.re_anchor, anchor)
        self._fresh(1)
        return self._store.standing

    async def tail(self, count: int) -> list[Record]:
        """The last records, oldest first."""
        await self.flush()
        return await self._thread.run(self._store.tail, count)

    # inside

    def _arm(self) -> None:
        """Have what waits written within the batch's time."""
        if self._flush is None and self._loop:
            delay_s = 0.0 if self.config.fsync == "all" else self.config.batch_ms / 1000
            self._flush = self._loop.call_later(delay_s, self._due)

    def _due(self) -> None:
        self._flush = None
        self._thread.run(self._write).add_done_callback(self._noticed)

    def _noticed(self, future: asyncio.Future[int]) -> None:
        if future.cancelled():
            self._arm()
        elif exc := future.exception():
            _log.error("audit writer failed", exc_info=exc)
        elif written := future.result():
            self._fresh(written)

    def _fresh(self, records: int) -> None:
        if records:
            self.fresh += records
            if self.fresh_since is None:
                self.fresh_since = asyncio.get_running_loop().time()
            self._grown.set()

    # on the thread

    def _write(self, *, last: bool = False) -> int:
        """Write everything that waits, in one go; how many records that made."""
        entries = self._taken()
        events = self._events(entries, last=last)
        lost = self._lost_events()
        if not events:
            return 0
        before = self._store.standing.state.seq
        owed = list(self._owed)
        try:
            self._store.append([*lost, *owed, *events])
        except StorageError as exc:
            self._failed(entries, exc)
        else:
            self._owed.clear()
            self._dropped = 0
            self.failing = None
            for entry in entries:
                entry.written = True
        return self._store.standing.state.seq - before

    def _taken(self) -> list[_Entry]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _events(self, entries: Sequence[_Entry], *, last: bool) -> list[Event]:
        now = self._clock.now().uptime_s
        events = self._repeats.due(now)
        for entry in entries:
            events += self._repeats.take(entry.event, now) if entry.repeats else [entry.event]
        return [*events, *self._repeats.rest()] if last else events

    def _lost_events(self) -> list[Event]:
        return (
            [Event(OURSELVES, "audit.lost", "dropped", {"records": self._dropped})] if self._dropped else []
        )

    def _failed(self, entries: Sequence[_Entry], exc: StorageError) -> None:
        """Tell who waits; record what makes room in the reserve; count the rest."""
        if self.failing is None:
            _log.error("audit log not written reason=%s", exc.message)
        self.failing = exc.message
        vital = [entry.event for entry in entries if entry.vital]
        if vital:
            try:
                self._store.append(vital, vital=True)
            except StorageError:
                self._owed.extend(vital)
        for entry in entries:
            entry.error, entry.written = exc, entry.vital
        lost = sum(not entry.urgent for entry in entries)
        self._dropped += lost
        self.lost += lost
