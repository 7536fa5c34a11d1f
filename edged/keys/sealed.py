"""The form of everything that is encrypted on the disk. Pure.

    header  "eds1" | algorithm 1 | chunk size log2 1 | epoch 4 | salt 16
    chunks  ciphertext and tag of each `chunk` bytes of content; the last one is shorter, or empty

The key is the purpose's and epoch's, mixed with algorithm and salt; a chunk's nonce is its number and whether it is the
last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). So chunks cannot be swapped, dropped or
added, and neither purpose, nor place, nor epoch can be exchanged: they are in the associated data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from edged.errors import KeysCorrupt
from edged.keys.secret import Secret

MAGIC: Final = b"eds1"
SALT_BYTES: Final = 16
TAG_BYTES: Final = 16
HEADER: Final = struct.Struct(">4sBBI16s")
FILE_CHUNK_LOG2: Final = 18
_CHUNK_LOG2_MAX: Final = 24

Algorithm = Literal["aes-256-gcm", "chacha20-poly1305"]
_CODES: Final[dict[Algorithm, int]] = {"aes-256-gcm": 1, "chacha20-poly1305": 2}
_CIPHERS: Final[dict[int, type[AESGCM | ChaCha20Poly1305]]] = {1: AESGCM, 2: ChaCha20Poly1305}


class Header(NamedTuple):
    """How the rest is to be read."""

    code: int
    chunk_log2: int
    epoch: int
    salt: bytes

    @property
    def chunk_bytes(self) -> int:
        """Of content in every chunk but the last."""
        return 1 << self.chunk_log2

    def encode(self) -> bytes:
        """The 26 bytes in front."""
        return HEADER.pack(MAGIC, self.code, self.chunk_log2, self.epoch, self.salt)


def new_header(algorithm: Algorithm, epoch: int, salt: bytes, chunk_log2: int = FILE_CHUNK_LOG2) -> Header:
    """The header of something new; the salt is random and never used twice."""
    return Header(_CODES[algorithm], chunk_log2, epoch, salt)


def header(data: bytes) -> Header:
    """The header in front of sealed bytes; KeysCorrupt where there is none."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise KeysCorrupt("not something that edged sealed, or its beginning is damaged")
    _, code, chunk_log2, epoch, salt = HEADER.unpack_from(data)
    if code not in _CIPHERS or chunk_log2 > _CHUNK_LOG2_MAX:
        raise KeysCorrupt("sealed in a way this version of edged does not know, or damaged")
    return Header(code, chunk_log2, epoch, salt)


def best_algorithm(cpuinfo: str) -> Algorithm:
    """AES where the CPU computes it (the flag `aes`, x86 and Arm), else ChaCha20: a Raspberry Pi 4 has no AES."""
    for line in cpuinfo.splitlines():
        name, _, flags = line.partition(":")
        if name.strip().lower() in ("flags", "features") and "aes" in flags.split():
            return "aes-256-gcm"
    return "chacha20-poly1305"


def seal_chunks(head: Header, key: Secret, place: bytes, content: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed form of `content` (pieces of any size), header first; `key` is the purpose's of this epoch."""
    cipher, front = _cipher(head, key), head.encode()
    yield front
    number, waiting = 0, bytearray()
    for piece in content:
        waiting += piece
        while len(waiting) >= head.chunk_bytes:
            yield cipher.encrypt(
                _nonce(number, last=False), bytes(waiting[: head.chunk_bytes]), front + place
            )
            del waiting[: head.chunk_bytes]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), front + place)


def open_chunks(head: Header, key: Secret, place: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content again, from what follows the header in pieces of any size.

    Raises KeysCorrupt where anything was changed, cut off or added; what was given before that was right, but the
    end of it is only known to be the end when the iteration ends.
    """
    cipher, front, size = _cipher(head, key), head.encode(), head.chunk_bytes + TAG_BYTES
    number, waiting = 0, bytearray()
    for piece in chunks:
        waiting += piece
        while len(waiting) >= size:
            yield _open(cipher, _nonce(number, last=False), bytes(waiting[:size]), front + place)
            del waiting[:size]
            number += 1
    yield _open(cipher, _nonce(number, last=True), bytes(waiting), front + place)


def _cipher(head: Header, key: Secret) -> AESGCM | ChaCha20Poly1305:
    return _CIPHERS[head.code](key.mac(b"edged/v1/sealed" + head.encode()))


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">3xQB", number, last)


def _open(cipher: AESGCM | ChaCha20Poly1305, nonce: bytes, chunk: bytes, place: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, chunk, place)
    except (InvalidTag, ValueError) as exc:
        raise KeysCorrupt("sealed data is damaged, cut off, or was moved from another place") from exc
