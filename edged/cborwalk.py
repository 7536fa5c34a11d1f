"""CBOR from strangers: walked before it is decoded, so that a decoder meets nothing that could trick it.

Pure. What passes is one item, complete and without anything after it: definite lengths, no tags, no simple values
but false, true and null, map keys that are text or integers and differ, and a bounded depth and number of items.
Source: RFC 8949; its section 5 leaves all of this to the application.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from edged.errors import BadCbor

DEPTH_MAX: Final = 32
ITEMS_MAX: Final = 1 << 14
"""Items, where 16 numbers in a row count as one: bounds the time and what a decoder allocates."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_CONTAINERS: Final = (_ARRAY, _MAP)
_SHORT: Final = 24  # additional information below this is the argument itself
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # bytes of the argument otherwise
_PLAIN: Final = frozenset({20, 21, 22, 25, 26, 27})  # false, true, null, and floats of three sizes


_NUMBER: Final = (
    rb"(?:[\x00-\x17\x20-\x37]|[\x18\x38][\s\S]|[\x19\x39\xf9][\s\S]{2}|[\x1a\x3a\xfa][\s\S]{4}"
    rb"|[\x1b\x3b\xfb][\s\S]{8})"
)
_RUNS: Final = tuple((count, re.compile(_NUMBER + b"{%d}" % count)) for count in (1024, 16))
_RUN_MIN: Final = 16


_Head: TypeAlias = tuple[int, int, int, int]
"""Major type, additional information, argument, where it ends."""
_Open: TypeAlias = tuple[int, set[bytes | int] | None]
"""A container whose items are not all read: how many are left, and a map's keys so far."""


def decode(
    data: bytes,
    *,
    depth_max: int = DEPTH_MAX,
    items_max: int = ITEMS_MAX,
    text_keys: bool = False,
    each_map: Callable[[dict[Any, Any]], None] | None = None,
) -> Any:
    """The item in `data`; raises BadCbor for everything that `check` refuses.

    `each_map` may change each map, innermost first.
    """
    import cbor2  # noqa: PLC0415 - a device to which nobody speaks CBOR does without

    def hook(_decoder: object, found: Any) -> Any:
        if each_map:
            each_map(found)
        return found

    check(data, depth_max=depth_max, items_max=items_max, text_keys=text_keys)
    try:
        return cbor2.loads(data, object_hook=hook if each_map else None)
    except (cbor2.CBORDecodeError, ValueError) as exc:
        raise BadCbor(f"not CBOR: {exc}") from exc


def check(
    data: bytes, *, depth_max: int = DEPTH_MAX, items_max: int = ITEMS_MAX, text_keys: bool = False
) -> None:
    """Raise BadCbor, naming the byte at fault, unless `data` is one plain item.

    `text_keys`: what JSON can say, so no key but text.
    """
    outer: list[_Open] = []
    left, keys, at = 1, None, 0
    for _ in range(items_max):
        while not left:
            if not outer:
                return _check_end(data, at)
            left, keys = outer.pop()
        if keys is None and left >= _RUN_MIN and (skipped := _numbers(data, at, left)):
            at, left = skipped
            continue
        head = _head(data, at)
        major = head[0]
        if keys is not None and left % 2 == 0:
            if text_keys and major != _TEXT:
                raise BadCbor(f"byte {at}: a key that is not text")
            _note_key(data, at, head, keys)
        left -= 1
        if major in _CONTAINERS:
            if len(outer) >= depth_max:
                raise BadCbor(f"byte {at}: nested deeper than {depth_max}")
            outer.append((left, keys))
            left, keys = _items(data, at, head), set() if major == _MAP else None
            at = head[3]
        else:
            at = _leaf(data, at, head)
    if left or any(waiting for waiting, _ in outer):
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
    if info < _SHORT:
        return major, info, info, at + 1
    if info not in _WIDTHS:
        raise BadCbor(f"byte {at}: a length that is indefinite or reserved")
    end = at + 1 + _WIDTHS[info]
    if end > len(data):
        raise BadCbor(f"byte {at}: ends too early")
    return major, info, int.from_bytes(data[at + 1 : end], "big"), end


def _items(data: bytes, at: int, head: _Head) -> int:
    """How many items a container announces; each takes a byte, so lengths that lie are found at once."""
    major, _, argument, end = head
    items = argument * 2 if major == _MAP else argument
    if items > len(data) - end:
        raise BadCbor(f"byte {at}: ends too early")
    return items


def _leaf(data: bytes, at: int, head: _Head) -> int:
    """Where an item that holds no others ends."""
    major, info, argument, end = head
    if major in (_BYTES, _TEXT):
        if end + argument > len(data):
            raise BadCbor(f"byte {at}: ends too early")
        if major == _TEXT:
            _check_text(data, end, end + argument)
        return end + argument
    if major == _TAG:
        raise BadCbor(f"byte {at}: a tag")
    if major == _SIMPLE and info not in _PLAIN:
        raise BadCbor(f"byte {at}: a simple value other than false, true and null")
    return end


def _check_text(data: bytes, start: int, end: int) -> None:
    try:
        str(memoryview(data)[start:end], "utf-8")
    except UnicodeDecodeError:
        raise BadCbor(f"byte {start}: text that is not UTF-8") from None


def _note_key(data: bytes, at: int, head: _Head, keys: set[bytes | int]) -> None:
    """Add a key to those of its map; two encodings of one integer are the same key."""
    major, _, argument, end = head
    if major == _TEXT:
        key: bytes | int = data[end : end + argument]
    elif major in (_UNSIGNED, _NEGATIVE):
        key = argument if major == _UNSIGNED else -1 - argument
    else:
        raise BadCbor(f"byte {at}: a key that is neither text nor an integer")
    if key in keys:
        raise BadCbor(f"byte {at}: a key for the second time")
    keys.add(key)
