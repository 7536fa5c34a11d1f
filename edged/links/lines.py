"""Newline framing over reused memory: bytes in, lines out, a buffer held only while a line is incomplete.

Pure. What arrives is received into one scratch buffer that all connections share. Only a connection in the
middle of a line owns memory, from a pool with a bound; an over-long line is dropped as it comes in, up to its
newline.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SCRATCH_BYTES: Final = 256 * 1024  # a camera's JPEG in base64 lies there whole
_FIRST_BYTES: Final = 2 * SCRATCH_BYTES
_GROWTH: Final = 2
_KEPT_BYTES: Final = 4 * 1024 * 1024  # spare buffers: one or two camera frames in base64


class Line(NamedTuple):
    """buffer[start:end] is a line without its newline; it lies there until `Lines.next` is called again."""

    buffer: bytearray
    start: int
    end: int


class TooLong(NamedTuple):
    """A line that was dropped, and why."""

    reason: str


class Pool:
    """The scratch buffer and the spare ones; incomplete lines hold `in_use_max_bytes` together at most."""

    def __init__(self, in_use_max_bytes: int) -> None:
        self.scratch = bytearray(SCRATCH_BYTES)
        self._spare: list[bytearray] = []
        self._left_bytes = in_use_max_bytes

    def take(self, at_least_bytes: int) -> bytearray | None:
        """A buffer, the largest there is; None where the bound is reached."""
        if self._spare and len(self._spare[-1]) >= at_least_bytes:
            buffer = self._spare.pop()
        elif at_least_bytes <= self._left_bytes:
            buffer = bytearray(at_least_bytes)
        else:
            return None
        self._left_bytes -= len(buffer)
        return buffer

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back, to keep or to free: the largest are kept, to be filled again without being grown."""
        self._left_bytes += len(buffer)
        self._spare.append(buffer)
        self._spare.sort(key=len)
        while sum(map(len, self._spare)) > _KEPT_BYTES:
            del self._spare[0]

    def drop(self, buffer: bytearray) -> None:
        """Take back a buffer that was too small: the larger one that took its place will be kept."""
        self._left_bytes += len(buffer)


class Lines:
    """One connection's framing: receive into `space`, tell `received`, then `next` until it gives None."""

    def __init__(self, pool: Pool, line_max_bytes: int) -> None:
        self._pool = pool
        self._max = line_max_bytes
        self._own: bytearray | None = None
        self._start = self._scanned = self._end = 0
        self._dropping = False

    @property
    def held(self) -> bool:
        """Whether the line that comes in is a long one, of which more should be there at once."""
        return self._own is not None

    def space(self) -> memoryview:
        """Where to receive next."""
        if self._own is None:
            return memoryview(self._pool.scratch)
        return memoryview(self._own)[self._end :]

    def received(self, count: int) -> None:
        """So many bytes lie in `space` now."""
        if self._own is None:
            self._start = self._scanned = self._end = 0
        self._end += count

    def next(self) -> Line | TooLong | None:
        """The next complete line, or the word that one was dropped; None when more has to come first."""
        if self._own is None and self._start == self._end and not self._dropping:
            return None
        buffer = self._pool.scratch if self._own is None else self._own
        while (newline := buffer.find(b"\n", self._scanned, self._end)) >= 0:
            start, self._start, self._scanned = self._start, newline + 1, newline + 1
            if self._dropping:
                self._dropping = False
            elif newline - start > self._max:
                return self._too_long()
            else:
                return Line(buffer, start, newline)
        self._scanned = self._end
        return self._hold()

    def park(self) -> None:
        """Move what has not been cut yet out of the scratch buffer, which another connection will use."""
        if self._own is None and self._start < self._end:
            self._own_rest(self._end - self._start)

    def rest(self) -> Line | None:
        """What is left when nothing more will come: a line that lacks its newline."""
        if self._own is None or self._dropping or self._start == self._end:
            return None
        return Line(self._own, self._start, self._end)

    def clear(self) -> None:
        """Give the memory back."""
        if self._own is not None:
            self._pool.give(self._own)
            self._own = None
        self._start = self._scanned = self._end = 0

    def _hold(self) -> TooLong | None:
        length = self._end - self._start
        if self._dropping or length == 0:
            self.clear()
            return None
        if length > self._max:
            return self._drop(self._too_long())
        if self._own is None or self._end == len(self._own):
            return self._own_rest(length)
        return None

    def _own_rest(self, length: int) -> TooLong | None:
        """Hold the rest at the start of a buffer that has room for more."""
        scanned = self._scanned - self._start
        if self._own is not None and self._start > len(self._own) // 2:
            self._own[:length] = self._own[self._start : self._end]
        else:
            size = min(max(_FIRST_BYTES, length * _GROWTH), max(self._max, SCRATCH_BYTES) + SCRATCH_BYTES)
            if (buffer := self._pool.take(size)) is None:
                return self._drop(TooLong("no memory left for long messages, try again"))
            source = self._pool.scratch if self._own is None else self._own
            buffer[:length] = memoryview(source)[self._start : self._end]
            if self._own is not None:
                self._pool.drop(self._own)
            self._own = buffer
        self._start, self._scanned, self._end = 0, scanned, length
        return None

    def _too_long(self) -> TooLong:
        return TooLong(f"a message of more than {self._max} bytes")

    def _drop(self, reason: TooLong) -> TooLong:
        self._dropping = True
        self.clear()
        return reason
