"""CBOR from strangers: walked before it is decoded, so that a decoder meets nothing that could trick it.

Pure. What passes is one item, complete and without anything after it: definite lengths, no tags, no simple values
but false, true and null, map keys that are text or integers and differ, and a bounded depth and number of items.
Source: RFC 8949; its section 5 leaves all of this to the application.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from edged.errors import BadCbor

DEPTH_MAX: Final = 32
ITEMS_MAX: Final = 1 << 14
"""Items, where 16 numbers in a row count as one: bounds the time and what a decoder allocates."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # bytes of the argument, by additional information
_CONSTANTS: Final = frozenset({20, 21, 22})  # false, true, null
_FLOATS: Final = frozenset({25, 26, 27})


_NUMBER: Final = (
    rb"(?:[\x00-\x17\x20-\x37]|[\x18\x38][\s\S]|[\x19\x39\xf9][\s\S]{2}|[\x1a\x3a\xfa][\s\S]{4}"
    rb"|[\x1b\x3b\xfb][\s\S]{8})"
)
_RUNS: Final = tuple((count, re.compile(_NUMBER + b"{%d}" % count)) for count in (1024, 16))


class _Head(NamedTuple):
    major: int
    info: int
    argument: int
    end: int


class _Open(NamedTuple):
    """A container whose items are not all read; `keys` are a map's so far."""

    left: int
    keys: set[bytes | int] | None


def decode(data: bytes, *, depth_max: int = DEPTH_MAX, items_max: int = ITEMS_MAX) -> Any:
    """The item in `data`; raises BadCbor for everything that `check` refuses."""
    import cbor2  # noqa: PLC0415 - a device to which nobody speaks CBOR does without

    check(data, depth_max=depth_max, items_max=items_max)
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as exc:
        raise BadCbor(f"not CBOR: {exc}") from exc


def check(data: bytes, *, depth_max: int = DEPTH_MAX, items_max: int = ITEMS_MAX) -> None:
    """Raise BadCbor, naming the byte at fault, unless `data` is one plain item."""
    outer: list[_Open] = []
    left, keys, at = 1, None, 0
    for _ in range(items_max):
        while not left:
            if not outer:
                return _check_end(data, at)
            left, keys = outer.pop()
        if keys is None and (skipped := _numbers(data, at, left)):
            at, left = skipped
            continue
        head = _head(data, at)
        if keys is not None and left % 2 == 0:
            _note_key(data, at, head, keys)
        left -= 1
        if head.major in (_ARRAY, _MAP):
            if len(outer) >= depth_max:
                raise BadCbor(f"byte {at}: nested deeper than {depth_max}")
            outer.append(_Open(left, keys))
            left, keys = _items(data, at, head), set() if head.major == _MAP else None
            at = head.end
        else:
            at = _leaf(data, at, head)
    if left or any(around.left for around in outer):
        raise BadCbor(f"byte {at}: more than {items_max} items")
    return _check_end(data, at)


def _check_end(data: bytes, at: int) -> None:
    if at != len(data):
        raise BadCbor(f"byte {at}: more after the end")


def _numbers(data: bytes, at: int, left: int) -> tuple[int, int] | None:
    """Where a run of numbers ends, and how many items are left then; None where there is none."""
    for count, run in _RUNS:
        if left >= count and (found := run.match(data, at)):
            return found.end(), left - count
    return None


def _head(data: bytes, at: int) -> _Head:
    if at >= len(data):
        raise BadCbor(f"byte {at}: ends too early")
    major, info = data[at] >> 5, data[at] & 0x1F
    if info < min(_WIDTHS):
        return _Head(major, info, info, at + 1)
    if info not in _WIDTHS:
        raise BadCbor(f"byte {at}: a length that is indefinite or reserved")
    end = at + 1 + _WIDTHS[info]
    if end > len(data):
        raise BadCbor(f"byte {at}: ends too early")
    return _Head(major, info, int.from_bytes(data[at + 1 : end], "big"), end)


def _items(data: bytes, at: int, head: _Head) -> int:
    """How many items a container announces; each takes a byte, so lengths that lie are found at once."""
    items = head.argument * 2 if head.major == _MAP else head.argument
    if items > len(data) - head.end:
        raise BadCbor(f"byte {at}: ends too early")
    return items


def _leaf(data: bytes, at: int, head: _Head) -> int:
    """Where an item that holds no others ends."""
    match head.major:
        case 2 | 3:
            end = head.end + head.argument
            if end > len(data):
                raise BadCbor(f"byte {at}: ends too early")
            if head.major == _TEXT:
                _check_text(data, head.end, end)
            return end
        case 6:
            raise BadCbor(f"byte {at}: a tag")
        case 7 if head.info not in _CONSTANTS | _FLOATS:
            raise BadCbor(f"byte {at}: a simple value other than false, true and null")
    return head.end


def _check_text(data: bytes, start: int, end: int) -> None:
    try:
        str(memoryview(data)[start:end], "utf-8")
    except UnicodeDecodeError:
        raise BadCbor(f"byte {start}: text that is not UTF-8") from None


def _note_key(data: bytes, at: int, head: _Head, keys: set[bytes | int]) -> None:
    """Add a key to those of its map; two encodings of one integer are the same key."""
    match head.major:
        case 0:
            key: bytes | int = head.argument
        case 1:
            key = -1 - head.argument
        case 3:
            key = data[head.end : head.end + head.argument]
        case _:
            raise BadCbor(f"byte {at}: a key that is neither text nor an integer")
    if key in keys:
        raise BadCbor(f"byte {at}: a key for the second time")
    keys.add(key)
