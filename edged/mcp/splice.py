"""Take large strings out of a message before it is parsed: a picture is decoded where it lies.

A 1.2 MB base64 string costs 300 us to parse as JSON and copy, and 50 us where it lies. Splicing replaces each
large string by a short random placeholder and remembers where the string was; the reader of a `Blob` argument
trades the placeholder for the bytes. What is read never differs from a full parse: where a placeholder is not
traded exactly once, or anything at all goes wrong, the caller parses the whole text instead.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterator
from typing import Final

import pybase64

LARGE_BYTES: Final = 4096
_QUOTES_MAX: Final = 512  # strings looked at before giving up: a message worth splicing has a few dozen


class Unspent(Exception):
    """A spliced message cannot be read as it is: parse the whole text."""


class Splices:
    """Placeholders of one message, and the base64 text behind each."""

    __slots__ = ("_strings",)

    def __init__(self, strings: dict[str, memoryview]) -> None:
        self._strings = strings

    def __bool__(self) -> bool:
        return bool(self._strings)

    def spend(self, placeholder: str) -> bytes | None:
        """The bytes behind a placeholder, once; None where it is no placeholder.

        Raises Unspent where the string is not strict base64.
        """
        string = self._strings.pop(placeholder, None)
        if string is None:
            return None
        try:
            return pybase64.b64decode(string, validate=True)
        except (binascii.Error, ValueError):
            raise Unspent from None


class Held(Splices):
    """Bytes that came as they are, in a framing that can carry them; no base64 stands behind a placeholder."""

    __slots__ = ("_held", "_token")

    def __init__(self) -> None:
        super().__init__({})
        self._token = os.urandom(16).hex()
        self._held: dict[str, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, data: bytes) -> str:
        """Take bytes in; the placeholder to put in the text."""
        placeholder = f"{self._token}{len(self._held)}"
        self._held[placeholder] = data
        return placeholder

    def spend(self, placeholder: str) -> bytes | None:
        """The bytes behind a placeholder, once; None where it is no placeholder."""
        return self._held.pop(placeholder, None)


def splice(buffer: bytes | bytearray, start: int, end: int) -> tuple[bytes, Splices] | None:
    """The text with its large strings replaced, and the strings; None where none can be taken out.

    Quotes are walked from the start, so a text with any backslash is left alone: only there may a quote
    not end a string. The strings are views: they die with the buffer's next use.
    """
    if end - start < LARGE_BYTES or buffer.find(b"\\", start, end) >= 0:
        return None
    view = memoryview(buffer)
    token = os.urandom(16).hex()
    pieces: list[bytes | memoryview] = []
    strings: dict[str, memoryview] = {}
    taken = start
    for opening, closing in _strings(buffer, start, end):
        if closing - opening > LARGE_BYTES:
            placeholder = f"{token}{len(strings)}"
            strings[placeholder] = view[opening + 1 : closing]
            pieces += (view[taken : opening + 1], placeholder.encode())
            taken = closing
    if not strings:
        return None
    pieces.append(view[taken:end])
    return b"".join(pieces), Splices(strings)


def _strings(buffer: bytes | bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
    for _ in range(_QUOTES_MAX):
        opening = buffer.find(b'"', start, end)
        closing = buffer.find(b'"', opening + 1, end) if opening >= 0 else -1
        if closing < 0:
            return
        yield opening, closing
        start = closing + 1
