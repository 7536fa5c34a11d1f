"""Reading a FlatBuffer without a schema compiler and without trust: no read leaves the bytes.

Pure. The format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from typing import Any, Final

_SIZES: Final = {code: struct.calcsize(f"<{code}") for code in "bBhHiIqQf"}


class Malformed(ValueError):
    """What is wrong, in words."""


class Table:
    """One table; a slot is a field's number in the schema (unions take two)."""

    __slots__ = ("_at", "_data", "_fields", "_size")

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        vtable = at - _read(data, at, "i")
        length, self._size = _read(data, vtable, "H"), _read(data, vtable + 2, "H")
        if length < 4 or length % 2 or vtable + length > len(data):
            raise Malformed(f"a table's vtable of {length} bytes at {vtable} does not fit the file")
        if self._size < 4 or at + self._size > len(data):
            raise Malformed(f"a table of {self._size} bytes at {at} does not fit the file")
        self._fields: tuple[int, ...] = struct.unpack_from(f"<{(length - 4) // 2}H", data, vtable + 4)
        if any(field >= self._size for field in self._fields):
            raise Malformed(f"a field of the table at {at} lies outside it")

    def scalar(self, slot: int, code: str, default: int) -> int:
        """A number of struct code `code`."""
        where = self._place(slot, _SIZES[code])
        return default if where is None else _read(self._data, where, code)

    def table(self, slot: int) -> Table | None:
        """The table a field points to."""
        where = self._place(slot, 4)
        return None if where is None else Table(self._data, _follow(self._data, where))

    def vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Where a vector's items begin, and how many there are; (0, 0) for an absent one."""
        where = self._place(slot, 4)
        if where is None:
            return 0, 0
        start = _follow(self._data, where)
        count = _read(self._data, start, "I")
        if start + 4 + count * item_bytes > len(self._data):
            raise Malformed(f"a vector of {count} items at {start} does not fit the file")
        return start + 4, count

    def numbers(self, slot: int, code: str) -> tuple[Any, ...]:
        """A vector of numbers."""
        start, count = self.vector(slot, _SIZES[code])
        return struct.unpack_from(f"<{count}{code}", self._data, start)

    def tables(self, slot: int, most: int) -> list[Table]:
        """A vector of at most `most` tables."""
        start, count = self.vector(slot, 4)
        if count > most:
            raise Malformed(f"{count} tables at {start}; the cap is {most}")
        return [Table(self._data, _follow(self._data, start + 4 * i)) for i in range(count)]

    def string(self, slot: int) -> bytes:
        """A string, which ends in a zero byte inside the file."""
        start, count = self.vector(slot, 1)
        if start and self._data[start + count : start + count + 1] != b"\0":
            raise Malformed(f"the string at {start} does not end")
        return self._data[start : start + count]

    def _place(self, slot: int, size: int) -> int | None:
        field = self._fields[slot] if slot < len(self._fields) else 0
        if field == 0:
            return None
        if field < 4 or field + size > self._size:
            raise Malformed(f"field {slot} of the table at {self._at} lies outside it")
        return self._at + field


def root(data: bytes, identifier: bytes) -> Table:
    """The root table of a file that must carry `identifier`."""
    if data[4:8] != identifier:
        raise Malformed(f"not a {identifier.decode()} file")
    return Table(data, _follow(data, 0))


def _follow(data: bytes, at: int) -> int:
    """Where the offset at `at` points."""
    return at + _read(data, at, "I")


def _read(data: bytes, at: int, code: str) -> int:
    size = _SIZES[code]
    if at < 0 or at + size > len(data):
        raise Malformed(f"an offset leads to byte {at} of {len(data)}")
    if at % size:
        raise Malformed(f"a number of {size} bytes at {at} is not aligned")
    value: int = struct.unpack_from(f"<{code}", data, at)[0]
    return value
