"""Whose message is next, so that one client's flood is at most one message ahead of another's.

Pure. A client that is alone is served as fast as it sends. Where several are there each has one message a turn of
the loop handled at once; the rest waits in a queue of its own, within bounds, and leaves it by turns.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, Generic, NamedTuple, TypeVar

WAITING_MAX: Final = 128
"""Messages of one client that wait: twice what it may have in flight by default."""
WAITING_MAX_BYTES: Final = 4 * 1024 * 1024
"""Likewise their bytes."""
QUEUES_MAX: Final = 256
"""Clients with a queue: a client id costs nothing on a broker that guards none."""
TOGETHER_S: Final = 1.0
"""Clients heard of within so many seconds are there together."""

T = TypeVar("T")


class Turn(enum.Enum):
    """When a message is to be handled."""

    NOW = enum.auto()
    LATER = enum.auto()
    """`next` will give it."""
    NEVER = enum.auto()
    """Too many of its client wait."""


class _Waiting(NamedTuple, Generic[T]):
    message: T
    size_bytes: int


class Fairness(Generic[T]):
    """Messages by client, each in the order it came."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Waiting[T]]] = {}
        self._bytes: dict[str, int] = {}
        self._served: set[str] = set()
        self._last = self._other = ("", float("-inf"))

    @property
    def turning(self) -> bool:
        """Whether `next` is due at the next turn of the loop."""
        return bool(self._served or self._queues)

    def arrive(self, client: str, message: T, size_bytes: int, now: float) -> Turn:
        """Take note of a message."""
        if client != self._last[0]:
            self._other = self._last
        self._last = (client, now)
        if client not in self._queues:
            if now - self._other[1] > TOGETHER_S:
                return Turn.NOW
            if client not in self._served and len(self._served) < QUEUES_MAX:
                self._served.add(client)
                return Turn.NOW
            if len(self._queues) >= QUEUES_MAX:
                return Turn.NEVER
        return self._wait(client, message, size_bytes)

    def next(self) -> list[tuple[str, T]]:
        """A turn of the loop has passed: one message of each client that has some waiting."""
        self._served.clear()
        due = []
        for client, queue in tuple(self._queues.items()):
            message, size_bytes = queue.popleft()
            self._bytes[client] -= size_bytes
            if not queue:
                self.drop(client)
            self._served.add(client)
            due.append((client, message))
        return due

    def drop(self, client: str) -> None:
        """Forget what waits of a client."""
        self._queues.pop(client, None)
        self._bytes.pop(client, None)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._queues.clear()
        self._bytes.clear()

    def _wait(self, client: str, message: T, size_bytes: int) -> Turn:
        queue = self._queues.setdefault(client, deque())
        waiting_bytes = self._bytes.get(client, 0) + size_bytes
        if len(queue) >= WAITING_MAX or (queue and waiting_bytes > WAITING_MAX_BYTES):
            return Turn.NEVER
        queue.append(_Waiting(message, size_bytes))
        self._bytes[client] = waiting_bytes
        return Turn.LATER
