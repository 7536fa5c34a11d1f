"""What a TPM states about itself and signs (TPMS_ATTEST, part 2, 10.12), read without a TPM. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

MAGIC: Final = 0xFF544347
"""TPM_GENERATED: a restricted key signs nothing from outside that begins so."""
QUOTE: Final = 0x8018
NV: Final = 0x8014

_SHA256: Final = 0x000B


class Malformed(ValueError):
    """Bytes that are no statement of the two kinds read here."""


class Quote(NamedTuple):
    """What registers held."""

    pcrs: tuple[int, ...]
    """SHA-256 bank, ascending."""
    digest: bytes
    """SHA-256 over their values in this order."""


class Content(NamedTuple):
    """What an NV index held."""

    name: bytes
    """The index's name, which covers its handle and attributes."""
    offset: int
    content: bytes


class Statement(NamedTuple):
    """One TPMS_ATTEST."""

    magic: int
    kind: int
    nonce: bytes
    """What the asker gave."""
    clock_ms: int
    """Powered time, as the TPM counts; no time of day."""
    resets: int
    """Power cycles, shifted by a number of the key's own where it is the owner's (part 1, 36.7)."""
    restarts: int
    safe: bool
    """Whether the clock never showed a higher value since the last reset."""
    firmware: int
    about: Quote | Content | None
    """None for kinds that are not read here."""


def parse(data: bytes) -> Statement:
    """All of `data`; raises Malformed."""
    reader = _Reader(data)
    magic, kind = reader.number(4), reader.number(2)
    reader.sized()  # the signer's qualified name: the caller knows the key
    nonce = reader.sized()
    clock_ms, resets, restarts, safe = reader.number(8), reader.number(4), reader.number(4), reader.number(1)
    firmware = reader.number(8)
    about: Quote | Content | None = None
    if kind == QUOTE:
        about = _quote(reader)
    elif kind == NV:
        about = Content(reader.sized(), reader.number(2), reader.sized())
    if about is not None and reader.left:
        raise Malformed("more after the end")
    return Statement(magic, kind, nonce, clock_ms, resets, restarts, bool(safe), firmware, about)


def _quote(reader: _Reader) -> Quote:
    if reader.number(4) != 1 or reader.number(2) != _SHA256:
        raise Malformed("not one selection in the SHA-256 bank")
    bits = int.from_bytes(reader.take(reader.number(1)), "little")
    pcrs = tuple(pcr for pcr in range(bits.bit_length()) if bits >> pcr & 1)
    return Quote(pcrs, reader.sized())


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise Malformed("ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))
