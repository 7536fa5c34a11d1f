"""Whose turn it is: a bounded queue, highest priority first, peers of one priority in rotation.

Pure, and not locked: the owner does that. One peer's flood costs itself: when the queue is full, a newcomer
takes the place of the newest item of a lower priority, or of the longest line of its own (McKenney,
"Stochastic Fairness Queueing", 1990: drop from the longest queue).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

PRIORITIES = 10


class Turns(Generic[T]):
    """Items wait in a line a peer; every operation is O(1) until the queue is full, then O(peers)."""

    __slots__ = ("_capacity", "_levels", "_lines", "_size")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lines: list[OrderedDict[Hashable, deque[T]]] = [OrderedDict() for _ in range(PRIORITIES)]
        self._levels = 0  # bit p is set while priority p has items
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, priority: int, peer: Hashable, item: T) -> tuple[bool, T | None]:
        """Queue `item`; give whether it was taken, and the item that had to leave for it."""
        left: T | None = None
        if self._size >= self._capacity:
            found = self._to_displace(priority, peer)
            if found is None:
                return False, None
            left = self._take(*found, newest=True)
        lines = self._lines[priority]
        line = lines.get(peer)
        if line is None:
            lines[peer] = line = deque()
        line.append(item)
        self._levels |= 1 << priority
        self._size += 1
        return True, left

    def pop(self) -> T | None:
        """The next item, or None; its peer goes to the back of the rotation."""
        if not self._levels:
            return None
        priority = self._levels.bit_length() - 1
        lines = self._lines[priority]
        peer = next(iter(lines))
        item = self._take(priority, peer, newest=False)
        if peer in lines:
            lines.move_to_end(peer)
        return item

    def remove(self, priority: int, peer: Hashable, item: T) -> bool:
        """Take `item` out of its line; False where it is not waiting (any more)."""
        line = self._lines[priority].get(peer)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._left(priority, peer, line)
        return True

    def ahead(self, priority: int) -> int:
        """How many items of this or a higher priority wait."""
        return sum(len(line) for lines in self._lines[priority:] for line in lines.values())

    def _to_displace(self, priority: int, peer: Hashable) -> tuple[int, Hashable] | None:
        lowest = (self._levels & -self._levels).bit_length() - 1
        if lowest > priority:
            return None
        lines = self._lines[lowest]
        longest = max(lines, key=lambda p: len(lines[p]))
        if lowest < priority or len(lines[longest]) > len(lines.get(peer, ())) + 1:
            return lowest, longest
        return None

    def _take(self, priority: int, peer: Hashable, *, newest: bool) -> T:
        line = self._lines[priority][peer]
        item = line.pop() if newest else line.popleft()
        self._left(priority, peer, line)
        return item

    def _left(self, priority: int, peer: Hashable, line: deque[T]) -> None:
        self._size -= 1
        if not line:
            lines = self._lines[priority]
            del lines[peer]
            if not lines:
                self._levels &= ~(1 << priority)
