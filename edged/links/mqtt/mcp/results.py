"""Results too large for one message: set down here for a while, and read in pieces that fit.

Pure. Only who was given a result may read it, and operators.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from edged.errors import NotFound

URI: Final = "edged://results/"
WHOLE: Final = URI + "{id}"
PART: Final = URI + "{id}/{part}"
KEEP_S: Final = 600.0
MAX_BYTES: Final = 16 * 1024 * 1024
_SHARE: Final = 4  # one owner may have this part of the whole


class Held(NamedTuple):
    """A result that is set down."""

    uri: str
    owner: str
    data: bytes
    mime: str
    part_bytes: int
    until_s: float

    @property
    def parts(self) -> int:
        """How many pieces it is read in."""
        return -(-len(self.data) // self.part_bytes)

    @property
    def how(self) -> str:
        """How to read it, in words."""
        parts = f"{self.uri}/0 to {self.uri}/{self.parts - 1}"
        return f"{len(self.data)} bytes; where that is too much at once, read {parts}"


class Results:
    """What is set down: at most `max_bytes`, for at most `keep_s` seconds, the oldest making room."""

    def __init__(
        self, token: Callable[[], str], *, max_bytes: int = MAX_BYTES, keep_s: float = KEEP_S
    ) -> None:
        self._token = token
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._held: OrderedDict[str, Held] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, owner: str, data: bytes, mime: str, part_bytes: int, now: float) -> Held | None:
        """Set a result down; None where it is more than one owner may have."""
        self._expire(now)
        share_bytes = self._max_bytes // _SHARE
        if len(data) > share_bytes or part_bytes <= 0:
            return None
        own = sum(len(held.data) for held in self._held.values() if held.owner == owner)
        for name in [name for name, held in self._held.items() if held.owner == owner]:
            if own + len(data) <= share_bytes:
                break
            own -= self._remove(name)
        while self.bytes + len(data) > self._max_bytes:
            self._remove(next(iter(self._held)))
        name = self._token()
        held = Held(URI + name, owner, data, mime, part_bytes, now + self._keep_s)
        self._held[name] = held
        self.bytes += len(data)
        return held

    def find(self, name: str, reader: str, now: float, *, operator: bool = False) -> Held:
        """What is set down under that id; raises NotFound where nothing is, or nothing of the reader's."""
        self._expire(now)
        held = self._held.get(name)
        if held is None or not (operator or held.owner == reader):
            raise NotFound(f"no result {name[:64]}: none of yours, or older than {self._keep_s:.0f} s")
        return held

    def part(self, name: str, number: str, reader: str, now: float, *, operator: bool = False) -> bytes:
        """One piece of it, counted from 0."""
        held = self.find(name, reader, now, operator=operator)
        if not (number.isascii() and number.isdecimal() and len(number) < 8 and int(number) < held.parts):
            raise NotFound(f"no part {number[:16]}: {held.how}")
        start = int(number) * held.part_bytes
        return held.data[start : start + held.part_bytes]

    def _expire(self, now: float) -> None:
        while self._held:
            name, held = next(iter(self._held.items()))
            if now <= held.until_s:
                return
            self._remove(name)

    def _remove(self, name: str) -> int:
        size = len(self._held.pop(name).data)
        self.bytes -= size
        return size
