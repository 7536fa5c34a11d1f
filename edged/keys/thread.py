"""The keys' own thread, and what happens when it does not come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from edged.errors import KeysUnavailable, Overloaded
from edged.tasks import OneThread

T = TypeVar("T")
P = ParamSpec("P")

LOG = logging.getLogger(__name__)

WAITING_MAX: Final = 32
_RETRY_AFTER_S: Final = 1.0


class KeysThread:
    """Runs what asks the keys, one at a time, for the event loop that made it; `close` it at the end.

    A job that does not come back within `deadline_s` is left behind with its thread: whoever waits, and whoever asks
    until it does come back, gets KeysUnavailable at once. What a backend holds belongs to that thread, so no other
    one may ask in the meantime.
    """

    def __init__(self, deadline_s: float, name: str = "keys") -> None:
        self._deadline_s = deadline_s
        self._thread = OneThread(name)
        self._turn = asyncio.Lock()
        self._running: asyncio.Future[Any] | None = None
        self._waiting = 0
        self._hung = False

    @property
    def hung(self) -> bool:
        """Whether a job was given up and has not come back."""
        return self._hung

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `job` gives or raises; it goes on to its end where the caller is cancelled.

        Raises KeysUnavailable where it does not come back, and Overloaded where too many wait.
        """
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} wait for the keys already", _RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(job, *args, **kwargs)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the thread once its job is done; one that hangs ends with the process."""
        if self._running is not None and not self._running.done():
            await self._back(self._running)
        if not self._hung:
            self._thread.close()

    async def _run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._running is not None and not self._hung:  # its caller was cancelled
            await self._back(self._running)
        if self._hung:
            raise self.silence
        running = self._thread.run(job, *args, **kwargs)
        self._running = running
        if not await self._back(running):
            raise self.silence
        return running.result()

    async def _back(self, running: asyncio.Future[Any]) -> bool:
        """Wait for a job; whether it came back in time."""
        done, _ = await asyncio.wait([running], timeout=self._deadline_s)
        if not done and not self._hung:
            LOG.error("keys do not answer after_s=%s", self._deadline_s)
            self._hung = True
            running.add_done_callback(self._came_back)
        return bool(done)

    def _came_back(self, running: asyncio.Future[Any]) -> None:
        """Serve again; what the job gave is nobody's any more."""
        self._hung = False
        if not running.cancelled():
            LOG.warning("keys answer again error=%s", running.exception())

    @property
    def silence(self) -> KeysUnavailable:
        """What a hung one is answered by."""
        return KeysUnavailable(
            f"what holds the keys has not answered for {self._deadline_s:g} s: if it stays so, cut the board's power"
        )
