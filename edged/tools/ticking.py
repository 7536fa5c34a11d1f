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
        """Tick for these, and no others, from now on; where none is live, sleep without a timer."""
        self._watched = frozenset(uris)
        self.reconsider()

    def reconsider(self) -> None:
        """Ask again which of the watched are live: something came or went."""
        pulses = {uri: self._pulse(uri) for uri in sorted(self._watched)}
        self._last = {uri: self._last.get(uri, now) for uri, now in pulses.items() if now is not None}
        if self._last:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self) -> None:
        """Tick on whole seconds of the loop's clock, so that it wakes up with others that do."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(TICK_S - loop.time() % TICK_S)
            self._tick()

    def _tick(self) -> None:
        for uri, before in tuple(self._last.items()):
            now = self._pulse(uri)
            if now != before and uri in self._last:  # telling one may end another's watch
                self._last[uri] = now
                self._tell(uri)
