"""Which requests came before, and what they were answered: a repeat runs nothing again.

Pure. MQTT may bring a message twice, and a client that lost its connection sends again what it has no answer to. A
request is the same where the same client sends the same bytes. What failed is not kept: to send that again is to
ask for another try.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Final, NamedTuple

from edged.links.mqtt.values import Publication

_ENTRY_BYTES: Final = 512  # about what one takes beside its payload
_SHARE: Final = 4  # one client may have this part of the whole


class Key(NamedTuple):
    """A request, as far as telling repeats goes; the hash is keyed by the process."""

    client: str
    size_bytes: int
    hash: int


def key(client: str, payload: bytes) -> Key:
    """The key of a client's request."""
    return Key(client, len(payload), hash(payload))


class Before(enum.Enum):
    """What is known of a request that has no answer to give."""

    NEVER = enum.auto()
    """It has not been seen, or too long ago: run it."""
    RUNNING = enum.auto()
    """Its answer will come, once."""
    TOO_LARGE = enum.auto()
    """It was answered, with more than is kept."""


class _Kept(NamedTuple):
    answer: Publication | None
    at_s: float
    bytes: int


class Answers:
    """The requests of all clients, of the last `keep_s` seconds, with answers of at most `max_bytes` together."""

    def __init__(self, keep_s: float, max_bytes: int) -> None:
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._share_bytes = max_bytes // _SHARE
        self._running: dict[str, set[Key]] = {}
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._of: dict[str, OrderedDict[Key, int]] = {}
        self._bytes_of: dict[str, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, asked: Key, now: float) -> Publication | Before:
        """Note a request; the answer to send again, or what else there is to know."""
        self._expire(now)
        if (kept := self._kept.get(asked)) is not None:
            return kept.answer or Before.TOO_LARGE
        running = self._running.setdefault(asked.client, set())
        if asked in running:
            return Before.RUNNING
        running.add(asked)
        return Before.NEVER

    def answered(self, asked: Key, answer: Publication, now: float) -> None:
        """Keep the answer of a request that ran."""
        if not self._end(asked) or self._keep_s <= 0 or not self._share_bytes:
            return
        size = len(answer.payload) + _ENTRY_BYTES
        kept: Publication | None = answer
        if size > self._share_bytes:
            kept, size = None, _ENTRY_BYTES
        self._kept[asked] = _Kept(kept, now, size)
        self._of.setdefault(asked.client, OrderedDict())[asked] = size
        self._bytes_of[asked.client] = self._bytes_of.get(asked.client, 0) + size
        self.bytes += size
        while self._bytes_of.get(asked.client, 0) > self._share_bytes:
            self._remove(next(iter(self._of[asked.client])))
        while self.bytes > self._max_bytes:
            self._remove(next(iter(self._kept)))

    def dropped(self, asked: Key) -> None:
        """Forget a request that failed, or will never be answered."""
        self._end(asked)

    def stopped(self, client: str) -> None:
        """Forget what of this client runs: it was cancelled."""
        self._running.pop(client, None)

    def forget(self, client: str) -> None:
        """Forget everything of this client: it begins anew, and counts its requests from the start."""
        self.stopped(client)
        for asked in tuple(self._of.get(client, ())):
            self._remove(asked)

    def _end(self, asked: Key) -> bool:
        running = self._running.get(asked.client)
        if running is None or asked not in running:
            return False
        running.remove(asked)
        if not running:
            del self._running[asked.client]
        return True

    def _expire(self, now: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if now - self._kept[oldest].at_s <= self._keep_s:
                return
            self._remove(oldest)

    def _remove(self, asked: Key) -> None:
        size = self._kept.pop(asked).bytes
        self.bytes -= size
        self._bytes_of[asked.client] -= size
        del self._of[asked.client][asked]
        if not self._of[asked.client]:
            del self._of[asked.client], self._bytes_of[asked.client]
