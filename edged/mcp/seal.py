"""Sealing what a client carries between two rounds of one request.

What is sealed cannot be read or changed, opens only in the context it was sealed in, and only for a while.
The cipher is imported when it is first needed: most daemons never ask anything.
Source: MCP 2026-07-28 basic/patterns/mrtr.mdx, "Server Requirements".
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_DEADLINE: Final = struct.Struct(">d")


class Broken(Exception):
    """Not sealed here, not for this, changed on the way, or too old."""


class Seal:
    """Seals under one key, for `ttl_s` seconds on the clock `now`.

    Without a key everything sealed ends with the process. A key that outlives it needs a clock that does too.
    """

    def __init__(
        self, key: bytes | None = None, ttl_s: float = 900.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        if key is not None and len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes: expected {KEY_BYTES}")
        self._key = key or os.urandom(KEY_BYTES)
        self._ttl_s = ttl_s
        self._now = now
        self._cipher: ChaCha20Poly1305 | None = None

    def seal(self, data: bytes, context: bytes) -> str:
        """The data as opaque text."""
        nonce = os.urandom(_NONCE_BYTES)
        secret = _DEADLINE.pack(self._now() + self._ttl_s) + data
        return base64.urlsafe_b64encode(nonce + self._aead().encrypt(nonce, secret, context)).decode()

    def open(self, text: str, context: bytes) -> bytes:
        """The data again; raises Broken."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see the module's docstring

        try:
            sealed = base64.b64decode(text.encode("ascii"), b"-_", validate=True)
            secret = self._aead().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (binascii.Error, ValueError, InvalidTag):
            raise Broken("not given out by this server for this request") from None
        (deadline,) = _DEADLINE.unpack_from(secret)
        if self._now() > deadline:
            raise Broken("expired: ask again from the start")
        return secret[_DEADLINE.size :]

    def _aead(self) -> ChaCha20Poly1305:
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - see the module's docstring
                ChaCha20Poly1305,
            )

            self._cipher = ChaCha20Poly1305(self._key)
        return self._cipher
