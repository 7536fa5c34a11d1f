"""How much may be spent a second, and who is served first when it is not enough. Pure: `now` is an argument.

A token bucket a priority: a call is paid from the bucket of its own priority and from every lower one. So what a
priority and those above it spend stays within the rate, and what is spent below it never delays it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

BURST_S: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0)
"""By priority, what may be saved up, in seconds of the rate: calls above the usual may come together."""

EXACT = 1e-9
"""So much may be missing: whoever waited as long as it was told must not be told again."""


class Budget:
    """A rate in units a second: calls, or seconds of CPU time. It is the owner's to ask `short_s` before `spend`."""

    def __init__(self, least: float = 0.0) -> None:
        """A bucket holds `least` units at least, however low the rate."""
        self._least = least
        self._rate: float | None = None
        self._sizes: list[float] = []
        self._levels: list[float] = []
        self._at_s = 0.0

    def adopt(self, rate: float | None, now: float) -> None:
        """Let the rate be this from now on; the first one after None starts with full buckets."""
        if rate == self._rate:
            return
        if self._rate is not None:
            self._fill(now)
        first = self._rate is None
        self._rate, self._at_s = rate, now
        if rate is None:
            return
        self._sizes = [max(self._least, rate * seconds) for seconds in BURST_S]
        self._levels = list(self._sizes) if first else list(map(min, self._levels, self._sizes))

    def short_s(self, priority: int, cost: float, now: float) -> float:
        """Seconds until a call of this priority and cost fits; 0 where it does, infinite where it never will.

        What costs more than a whole bucket fits when the bucket is full, and leaves it in debt.
        """
        if self._rate is None:
            return 0.0
        if not self._rate:
            return inf
        self._fill(now)
        missing = min(cost, self._sizes[priority]) - self._levels[priority]
        return missing / self._rate if missing > EXACT else 0.0

    def spend(self, priority: int, cost: float) -> None:
        """Take `cost`; a negative one gives back what was taken too much."""
        if self._rate is not None:
            for index in range(priority + 1):
                self._levels[index] -= cost

    def _fill(self, now: float) -> None:
        rate, since_s = self._rate or 0.0, now - self._at_s
        if since_s > 0.0:
            self._levels = [
                min(size, level + since_s * rate)
                for size, level in zip(self._sizes, self._levels, strict=True)
            ]
            self._at_s = now
