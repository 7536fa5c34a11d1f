"""How many messages a client may send while others are there, so that one cannot take the device from all.

Pure. A client that is alone may send as fast as it likes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

RATE_HZ: Final = 200.0
"""Messages a second, of each client, in the long run. Default: far above what an agent or a camera sends."""
BURST: Final = 400.0
TOGETHER_S: Final = 1.0
"""Clients heard of within so many seconds are there together."""
_CLIENTS_MAX: Final = 1024


class Allowance:
    """A bucket a client, drawn from only while another client is there too."""

    def __init__(self, rate_hz: float = RATE_HZ, burst: float = BURST) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._last = self._other = ("", float("-inf"))

    def take(self, client: str, now: float) -> bool:
        """Whether one more message of this client is to be looked at."""
        if client != self._last[0]:
            self._other = self._last
        self._last = (client, now)
        if now - self._other[1] > TOGETHER_S:
            return True
        left, since = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate_hz)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now)
        if len(self._buckets) > _CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return allowed
