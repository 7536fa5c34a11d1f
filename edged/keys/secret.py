"""A secret in memory: what is derived from it, and how it is forgotten."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edged.errors import KeysUnavailable

ROOT_BYTES: Final = 32
CHECK_BYTES: Final = 16


class Secret:
    """32 bytes that are overwritten when they are wiped. What libraries copied of them is theirs, until it is freed."""

    def __init__(self, value: bytes | bytearray) -> None:
        if len(value) != ROOT_BYTES:
            raise ValueError(f"a secret has {ROOT_BYTES} bytes, not {len(value)}")
        self._value = bytearray(value)
        self._wiped = False

    def __repr__(self) -> str:
        return "Secret(...)"

    def derive(self, purpose: str, epoch: int) -> Secret:
        """The key for one purpose: HKDF-SHA256 (RFC 5869) with `edged/v1/<purpose>/<epoch>`."""
        info = f"edged/v1/{purpose}/{epoch}".encode()
        return Secret(self._used(HKDF(hashes.SHA256(), ROOT_BYTES, b"", info).derive(self._value)))

    def check_value(self) -> bytes:
        """Tells whether this is the secret that was sealed: a TPM can answer an unseal with wrong bytes and success."""
        return self.mac(b"edged/v1/check-value")[:CHECK_BYTES]

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA256 of a message, 32 bytes."""
        return self._used(hmac.digest(self._value, message, "sha256"))

    def reveal(self) -> bytes:
        """The bytes themselves, for who seals or wraps them."""
        return self._used(bytes(self._value))

    def wipe(self) -> None:
        """Overwrite it; whoever uses it from now on gets KeysUnavailable."""
        self._wiped = True
        self._value[:] = bytes(len(self._value))

    def _used(self, made: bytes) -> bytes:
        """What was made of it, unless it was wiped meanwhile: nothing is ever sealed with a key of zeros."""
        if self._wiped:
            raise KeysUnavailable("the keys are closed, or retired")
        return made
