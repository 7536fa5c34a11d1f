"""Reads every source in a thread of its own; one that hangs is left behind, and the others go on without it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from time import monotonic

from edged.power.readings import Raw
from edged.power.sensors import Reads
from edged.tasks import OneThread

LOG = logging.getLogger(__name__)


class Bell:
    """Rung from any thread, waited for on the loop; a ring before the wait counts."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ring(self) -> None:
        """Wake whoever waits."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> None:
        """Return when it is rung, or after `timeout_s`."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        self._event.clear()


class _Round:
    """One pass over some sources; written by the thread, read by the loop once it is over or has hung."""

    def __init__(self, sources: Sequence[Reads]) -> None:
        self.sources = sources
        self.raws: list[Raw] = []
        self.index = 0
        self.abandoned = False

    def run(self) -> None:
        for index, source in enumerate(self.sources):
            self.index = index
            raws = _read(source)
            if self.abandoned:
                return
            self.raws += raws


class Sampler:
    """For one caller at a time, on the loop. `close` it at the end."""

    def __init__(self, sources: Sequence[Reads]) -> None:
        self._sources = sources
        self._thread = OneThread("sensors")
        self._pending: asyncio.Future[None] | None = None
        self._hung: set[str] = set()

    @property
    def hung(self) -> frozenset[str]:
        """The sources whose read has not come back."""
        return frozenset(self._hung)

    async def read(self, timeout_s: float) -> list[Raw]:
        """What every source says that answers within `timeout_s`; the ones that do not are in `hung`."""
        raws: list[Raw] = []
        waiting = [source for source in self._sources if source.name not in self._hung]
        while waiting:
            one = _Round(waiting)
            self._pending = self._thread.run(one.run)
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(self._pending)
            except TimeoutError:
                one.abandoned = True
                self._leave_behind(waiting[one.index].name, self._pending)
                waiting = waiting[one.index + 1 :]
            else:
                waiting = []
            raws += one.raws
        return raws

    def close(self) -> None:
        """End the thread and close every descriptor; a read that hangs keeps its own, and ends with the process."""
        if self._pending is not None and not self._pending.done():
            return
        self._thread.close()
        for source in self._sources:
            if source.name not in self._hung:
                source.close()

    def _leave_behind(self, name: str, pending: asyncio.Future[None]) -> None:
        """Give the hung read its thread, and take a new one; the source is asked again when it has come back."""
        LOG.warning("sensor hangs source=%s", name)
        self._hung.add(name)
        left, self._thread = self._thread, OneThread("sensors")

        def back(_: asyncio.Future[None]) -> None:
            LOG.info("sensor is back source=%s", name)
            self._hung.discard(name)
            left.close()

        pending.add_done_callback(back)
        self._pending = None


def _read(source: Reads) -> list[Raw]:
    try:
        return source.read(monotonic())
    except (OSError, ValueError, RuntimeError) as exc:
        LOG.warning("sensor failed source=%s error=%s", source.name, exc)
        return []
