"""Which models stay in memory, and which leave for the next. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

LOADING_SHARE: Final = 0.04
"""Share of the time that may go into loading models in the place of others; with all others, a twentieth."""
CREDIT_S: Final = 1.0
"""So much loading may come at once after a while without."""
LONGEST_S: Final = 2.0
"""What one loading counts for at most: one that was drawn out must not lock the others out for minutes."""
TOLD_S: Final = 5.0
"""The longest that a caller is sent away for."""
GRACE_S: Final = 2.0
"""So much later than told may a caller come back."""
EXACT_S: Final = 1e-9
"""So much may be owed: whoever waited as long as it was told must not be told again."""
UNMEASURED_S: Final = 0.5
"""What loading is taken to need before it was measured."""

K = TypeVar("K", bound=Hashable)


class Resident(NamedTuple, Generic[K]):
    """One loaded model as the budget sees it."""

    key: K
    memory_bytes: int
    used_at_s: float
    idle: bool


def to_unload(residents: Iterable[Resident[K]], need_bytes: int, budget_bytes: int) -> list[K] | None:
    """Whom to unload for `need_bytes`: idle ones, least recently used first; None where not enough are."""
    residents = list(residents)
    over = sum(r.memory_bytes for r in residents) + need_bytes - budget_bytes
    leave: list[K] = []
    for resident in sorted((r for r in residents if r.idle), key=lambda r: r.used_at_s):
        if over <= 0:
            break
        leave.append(resident.key)
        over -= resident.memory_bytes
    return leave if over <= 0 else None


class Turnover(Generic[K]):
    """Who may displace others, and when: loading stays below its share of the time, in the order of asking.

    Where more is asked for, who came in by displacing stays for about 25 times what its loading took.
    """

    def __init__(self) -> None:
        self._took_s: dict[K, float] = {}
        self._charged: dict[K, float] = {}
        self._claims: dict[K, float] = {}
        """Until when each is waited for, in the order of their first asking."""
        self._credit_s = CREDIT_S
        self._at_s: float | None = None

    def ask(self, key: K, now: float) -> float:
        """Seconds to stay away before `key` may displace others; 0 where it may now.

        At most `TOLD_S`, so that nobody sleeps through the time when its model is in memory; who does not come back
        then loses its place.
        """
        self._fill(now)
        self._claims = {other: until for other, until in self._claims.items() if other == key or until >= now}
        self._claims.setdefault(key, now)
        wait_s = -self._credit_s / LOADING_SHARE if self._credit_s < -EXACT_S else 0.0
        for ahead in self._claims:
            if ahead == key:
                break
            wait_s += self._expected_s(ahead) / LOADING_SHARE
        told_s = min(wait_s, TOLD_S)
        self._claims[key] = now + told_s + GRACE_S
        return told_s

    def displaced(self, by: K, now: float) -> None:
        """Note that others leave for `by`."""
        self._fill(now)
        self._claims.pop(by, None)
        self._charged[by] = self._expected_s(by)
        self._credit_s -= self._charged[by]

    def loaded(self, key: K, took_s: float) -> None:
        """Note what a loading took."""
        took_s = self._took_s[key] = min(took_s, LONGEST_S)
        self._claims.pop(key, None)
        if (charged := self._charged.pop(key, None)) is not None:
            self._credit_s += charged - took_s

    def _expected_s(self, key: K) -> float:
        return self._took_s.get(key, UNMEASURED_S)

    def _fill(self, now: float) -> None:
        since_s = 0.0 if self._at_s is None else now - self._at_s
        self._credit_s = min(CREDIT_S, self._credit_s + since_s * LOADING_SHARE)
        self._at_s = now
