"""Which of an ordered list of brokers to use. Pure: `now` is in seconds of any one clock.

The first that answers is kept, for whoever looks for the device must find it in one place. One that failed is
not trusted again until it has answered every trial for a while; only when all have failed are they tried in turn.
"""

from __future__ import annotations

from typing import Final

SETTLED_S: Final = 10.0
"""A connection that ends sooner has failed."""


class Brokers:
    """What is known of `count` brokers, named by their place in the list."""

    def __init__(self, count: int, back_after_s: float) -> None:
        self._back_after_s = back_after_s
        self._failed_at: dict[int, float] = {}
        self._answers_since: dict[int, float] = {}
        self._count = count

    def choose(self) -> tuple[int, bool]:
        """Which to try now, and whether it is untried or trusted; if not, all have failed and a pause is due."""
        for index in range(self._count):
            if index not in self._failed_at:
                return index, True
        return min(self._failed_at, key=lambda index: (self._failed_at[index], index)), False

    def failed(self, index: int, now: float) -> None:
        """It could not be connected to, or a trial went wrong."""
        self._failed_at[index] = now
        self._answers_since.pop(index, None)

    def connected(self, index: int) -> None:
        """It granted everything."""
        self._failed_at.pop(index, None)
        self._answers_since.pop(index, None)

    def lost(self, index: int, now: float, up_s: float, *, silent: bool) -> None:
        """The connection, `up_s` old, ended. One that was closed and not silent is tried once more: it may restart."""
        if silent or up_s < SETTLED_S:
            self.failed(index, now)

    def better(self, index: int) -> range:
        """Those preferred to `index`, best first, to be tried from time to time."""
        return range(index)

    def answered(self, index: int, now: float) -> bool:
        """A trial went well; whether all have for so long that it is to be gone back to."""
        since = self._answers_since.setdefault(index, now)
        if now - since < self._back_after_s:
            return False
        self._failed_at.pop(index, None)
        return True
