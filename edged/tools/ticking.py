"""Live resources: one tick for all of them, and only while somebody is subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

TICK_S: Final = 1.0


class Ticker:
    """Tells once a tick of each watched resource that has changed since the last one. For the event loop's thread.

    `pulse(uri)` gives something that equals its last value as long as the resource has not changed, and None
    for what is not live. `tell(uri)` is called for what has.
    """

    def __init__(self, pulse: Callable[[str], object], tell: Callable[[str], None]) -> None:
        self._pulse = pulse
        self._tell = tell
        self._watched: frozenset[str] = frozenset()
        self._last: dict[str, object] = {}
        self._wanted = asyncio.Event()

    def watch(self, uris: Collection[str]) -> None:
        """Tick for these from now on; for none, sleep without a timer."""
        self._watched = frozenset(uri for uri in uris if self._pulse(uri) is not None)
        self._last = {uri: self._last.get(uri, self._pulse(uri)) for uri in self._watched}
        (self._wanted.set if self._watched else self._wanted.clear)()

    async def run(self) -> None:
        """Tick on whole seconds of the loop's clock, so that it wakes up with others that do."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(TICK_S - loop.time() % TICK_S)
            self._tick()

    def _tick(self) -> None:
        for uri in self._watched:
            now = self._pulse(uri)
            if now != self._last.get(uri):
                self._last[uri] = now
                self._tell(uri)
