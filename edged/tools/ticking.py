"""Live resources: one tick for all of them, and only while somebody is subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        self._watched: set[str] = set()
        self._last: dict[str, object] = {}
        self._wanted = asyncio.Event()

    def watch(self, uri: str, by_anybody: bool) -> None:  # noqa: FBT001 - the shape of a callback
        """Tick for this resource from now on, or no more; while none that is live is watched, sleep without a timer."""
        if by_anybody:
            self._watched.add(uri)
            self._consider(uri)
        else:
            self._watched.discard(uri)
            self._last.pop(uri, None)
        self._sleep_or_wake()

    def reconsider(self) -> None:
        """Ask again which of the watched are live: something came or went."""
        for uri in self._watched:
            self._consider(uri)
        self._sleep_or_wake()

    async def run(self) -> None:
        """Tick on whole seconds of the loop's clock, so that it wakes up with others that do."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(TICK_S - loop.time() % TICK_S)
            self._tick()

    def _consider(self, uri: str) -> None:
        now = self._pulse(uri)
        if now is None:
            self._last.pop(uri, None)
        else:
            self._last.setdefault(uri, now)

    def _sleep_or_wake(self) -> None:
        if self._last:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _tick(self) -> None:
        for uri, before in tuple(self._last.items()):
            now = self._pulse(uri)
            if now != before and uri in self._last:  # telling one may end another's watch
                self._last[uri] = now
                self._tell(uri)
