"""Deterministic CBOR, the part of it that records need: one way to write a value, and nothing else is read.

Pure. Unsigned and negative integers of 64 bits, bytes, text, arrays, maps with text keys, booleans, null and floats.
Definite lengths, shortest heads, sorted keys, no tags, no key twice, at most 32 deep.
Source: RFC 8949 section 4.2.1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from edged.errors import BadCbor

DEPTH_MAX: Final = 32

_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}
_FLOATS: Final = ((0xF9, "!e", 2), (0xFA, "!f", 4), (0xFB, "!d", 8))
_HEAD_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_NAN: Final = b"\xf9\x7e\x00"


def encode(value: object) -> bytes:
    """The one encoding of a value; raises TypeError for a type and OverflowError for an integer that has none."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def decode(data: bytes) -> Any:
    """The value; raises BadCbor for anything that `encode` would not have written."""
    value, end = decode_from(data, 0)
    if end != len(data):
        raise BadCbor(f"{len(data) - end} bytes after the value")
    return value


class Decoded(NamedTuple):
    """A value, and where the bytes after it begin."""

    value: Any
    end: int


def decode_from(data: bytes, start: int) -> Decoded:
    """The value that begins at `start`; raises BadCbor."""
    try:
        return Decoded(*_read(data, start, 0))
    except (IndexError, struct.error):
        raise BadCbor("the bytes end within a value") from None


def head(major: int, argument: int) -> bytes:
    """The first bytes of an item of this major type."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 1 << 8:
        return bytes((major << 5 | 24, argument))
    if argument < 1 << 16:
        return struct.pack("!BH", major << 5 | 25, argument)
    if argument < 1 << 32:
        return struct.pack("!BI", major << 5 | 26, argument)
    if argument < 1 << 64:
        return struct.pack("!BQ", major << 5 | 27, argument)
    raise OverflowError("an integer of more than 64 bits")


def _write(value: object, parts: list[bytes]) -> None:
    if value is None or isinstance(value, bool):
        parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(head(0, value) if value >= 0 else head(1, -1 - value))
    elif isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace")
        parts += (head(3, len(text)), text)
    elif isinstance(value, bytes):
        parts += (head(2, len(value)), value)
    elif isinstance(value, float):
        parts.append(_float(value))
    elif isinstance(value, list | tuple):
        parts.append(head(4, len(value)))
        for item in value:
            _write(item, parts)
    elif isinstance(value, Mapping):
        parts.append(head(5, len(value)))
        for key, item in sorted((encode(str(key)), item) for key, item in value.items()):
            parts.append(key)
            _write(item, parts)
    else:
        raise TypeError(f"no CBOR for {type(value).__name__}")


def _float(value: float) -> bytes:
    if math.isnan(value):
        return _NAN
    for first, form, _ in _FLOATS[:-1]:
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return bytes((first,)) + packed
    return struct.pack("!Bd", 0xFB, value)


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    first = data[at]
    major, low = first >> 5, first & 0x1F
    if major == 7:
        return _read_simple(data, at, first)
    argument, at = _argument(data, at + 1, low)
    if major < 2:
        return (argument if major == 0 else -1 - argument), at
    if major in (2, 3):
        return _read_string(data, at, at + argument, text=major == 3)
    if major == 6:
        raise BadCbor("a tag")
    if depth == DEPTH_MAX:
        raise BadCbor(f"deeper than {DEPTH_MAX}")
    if argument > len(data) - at:
        raise BadCbor("the bytes end within a value")
    if major == 4:
        items = []
        for _ in range(argument):
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return items, at
    return _read_map(data, at, argument, depth)


def _argument(data: bytes, at: int, low: int) -> tuple[int, int]:
    if low < 24:
        return low, at
    length = _HEAD_BYTES.get(low)
    if length is None:
        raise BadCbor("an indefinite or reserved length")
    if at + length > len(data):
        raise BadCbor("the bytes end within a value")
    argument = int.from_bytes(data[at : at + length], "big")
    if argument < (24 if length == 1 else 1 << 4 * length):
        raise BadCbor("a head longer than it need be")
    return argument, at + length


def _read_string(data: bytes, start: int, end: int, *, text: bool) -> tuple[str | bytes, int]:
    if end > len(data):
        raise BadCbor("the bytes end within a value")
    raw = data[start:end]
    try:
        return (raw.decode() if text else raw), end
    except UnicodeDecodeError:
        raise BadCbor("text that is not UTF-8") from None


def _read_map(data: bytes, at: int, pairs: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    before = b""
    for _ in range(pairs):
        start = at
        key, at = _read(data, at, depth + 1)
        if not isinstance(key, str):
            raise BadCbor("a key that is not text")
        if data[start:at] <= before:
            raise BadCbor("keys out of order, or one twice")
        before = data[start:at]
        found[key], at = _read(data, at, depth + 1)
    return found, at


def _read_simple(data: bytes, at: int, first: int) -> tuple[bool | float | None, int]:
    if first in _SIMPLE:
        return _SIMPLE[first], at + 1
    for kind, form, length in _FLOATS:
        if first == kind:
            (value,) = struct.unpack_from(form, data, at + 1)
            if _float(value) != data[at : at + 1 + length]:
                raise BadCbor("a float longer than it need be")
            return value, at + 1 + length
    raise BadCbor("a simple value that is not used here")
