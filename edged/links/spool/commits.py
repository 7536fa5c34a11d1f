"""Group commit: what arrives while one transaction is being written shares the next one, and its fsync."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edged.errors import Overloaded, StorageError
from edged.links.spool.state import Change, Put
from edged.tasks import OneThread

GROUP_MAX_BYTES: Final = 1024 * 1024
GROUP_MAX: Final = 1000
WAITING_MAX_BYTES: Final = 8 * 1024 * 1024
_RETRY_AFTER_S: Final = 0.5

Apply = Callable[[Sequence[Change]], list[StorageError | None]]


class Commits:
    """Changes on their way to the disk, in the order they came. For the event loop's thread."""

    def __init__(self, thread: OneThread, apply: Apply) -> None:
        self._thread, self._apply = thread, apply
        self._waiting: deque[tuple[Change, asyncio.Future[None]]] = deque()
        self._waiting_bytes = 0
        self._running: asyncio.Future[list[StorageError | None]] | None = None
        self.groups = 0
        """Transactions so far."""
        self.on_trouble: Callable[[], None] = lambda: None
        """Called when the disk begins to fail, and when it works again."""
        self.trouble: StorageError | None = None
        """Why the file could not be opened, or the last transaction failed; None since it went well."""

    async def commit(self, change: Change) -> None:
        """Return when it is on the disk; raises StorageError where it is not, Overloaded where too much waits."""
        if self._waiting and self._waiting_bytes + _weight(change) > WAITING_MAX_BYTES:
            raise Overloaded("the disk does not keep up with what is to be spooled", _RETRY_AFTER_S)
        await self.submit(change)

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Likewise, without the bound and for those who need not wait."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        self._waiting.append((change, future))
        self._waiting_bytes += _weight(change)
        self._next()
        return future

    def note(self, trouble: StorageError | None) -> None:
        """What the disk says of the last that was asked of it."""
        begins_or_ends = (trouble is None) != (self.trouble is None)
        self.trouble = trouble
        if begins_or_ends:
            self.on_trouble()

    async def settled(self) -> None:
        """Return when nothing waits for the disk any more."""
        while self._running is not None:
            await asyncio.wait([self._running])
            await asyncio.sleep(0)  # for the callback that begins the next group

    def _next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        group: list[tuple[Change, asyncio.Future[None]]] = []
        total = 0
        while self._waiting and len(group) < GROUP_MAX:
            weight = _weight(self._waiting[0][0])
            if group and total + weight > GROUP_MAX_BYTES:
                break
            group.append(self._waiting.popleft())
            total += weight
        self._waiting_bytes -= total
        self._running = self._thread.run(self._apply, [change for change, _ in group])
        self._running.add_done_callback(lambda done: self._end(done, [future for _, future in group]))

    def _end(
        self, done: asyncio.Future[list[StorageError | None]], futures: Sequence[asyncio.Future[None]]
    ) -> None:
        self._running = None
        self.groups += 1
        failed = done.exception()
        self.note(failed if isinstance(failed, StorageError) else None)
        outcomes = [failed] * len(futures) if failed is not None else done.result()
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.done():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)
        self._next()


def _weight(change: Change) -> int:
    return sum(len(r.payload) for r in change.records) if isinstance(change, Put) else 0


def _retrieve(future: asyncio.Future[None]) -> None:
    """Nobody has to await it."""
    if not future.cancelled():
        future.exception()
