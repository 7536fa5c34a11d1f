"""How long to wait before another try. Pure: chance is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_S: Final = 1.0
CLOSED_TIMES: Final = 3
CLOSED_WITHIN_S: Final = 60.0


def pause_s(failures: int, chance: float, max_s: float, first_s: float = FIRST_S) -> float:
    """Seconds to wait after so many failures in a row (from 0), chance being in [0, 1).

    Anything from nothing to a bound that doubles with each failure: of all who lost the same broker, few come
    back at the same time ("full jitter": Brooker, Exponential Backoff And Jitter, AWS 2015).
    """
    return min(max_s, first_s * 2.0 ** min(failures, 32)) * chance


def keep_away_s(failures: int, chance: float, first_s: float) -> float:
    """Likewise where coming back early does harm: `first_s` to three times that, doubling five times."""
    return first_s * 2.0 ** min(failures, 5) * (1 + 2 * chance)


class Rivalry:
    """Whether somebody else takes our client id, which throws us out each time.

    Some brokers say so; mosquitto 2.0 just closes the connection. So do brokers that end for other reasons, but
    not again and again.
    """

    def __init__(self) -> None:
        self._closed: deque[float] = deque(maxlen=CLOSED_TIMES)

    def suspected(self, now: float, *, said: bool) -> bool:
        """The broker closed the connection, and `said` it was for that reason or gave none."""
        self._closed.append(now)
        often = len(self._closed) == CLOSED_TIMES and now - self._closed[0] <= CLOSED_WITHIN_S
        if often or said:
            self._closed.clear()
        return often or said
