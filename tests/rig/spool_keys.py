"""Keys for a spool: of a device that is not what is tested, or of a vault. The sealing is real."""

from __future__ import annotations

import os

from edged.errors import EdgedError
from edged.keys import sealed
from edged.keys.secret import Secret
from edged.keys.vault import Purpose, Vault


class FixedKeys:
    """The same in every process; `problem` closes them."""

    def __init__(self, root: bytes = bytes(32)) -> None:
        self._key = Secret(root).derive("spool", 1)
        self.problem: EdgedError | None = None

    def seal(self, place: str, plain: bytes) -> bytes:
        self._check()
        head = sealed.new_header("aes-256-gcm", 1, os.urandom(sealed.SALT_BYTES))
        return b"".join(sealed.seal_chunks(head, self._key, place.encode(), [plain]))

    def open(self, place: str, data: bytes) -> bytes:
        self._check()
        head = sealed.header(data)
        return b"".join(sealed.open_chunks(head, self._key, place.encode(), [data[sealed.HEADER.size :]]))

    def _check(self) -> None:
        if self.problem:
            raise self.problem


class VaultKeys:
    """The keys of a vault, opened."""

    def __init__(self, vault: Vault) -> None:
        self._sealer = vault.sealer(Purpose.SPOOL)
        self.problem: EdgedError | None = None

    def seal(self, place: str, plain: bytes) -> bytes:
        return self._sealer.seal(place, plain)

    def open(self, place: str, data: bytes) -> bytes:
        return self._sealer.open(place, data)
