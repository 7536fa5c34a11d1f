"""Encrypted files: `NAME.PURPOSE.sealed`, bound to their place below the state directory."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from edged.errors import StorageError
from edged.files import open_regular, sync_directory
from edged.keys.vault import Purpose, Vault

SUFFIX = ".sealed"
READ_BYTES = 1 << 18


class SealedFiles:
    """The encrypted files below one directory, by their path in it."""

    def __init__(self, vault: Vault, root: Path) -> None:
        self._vault = vault
        self._root = root

    def path(self, place: str, purpose: Purpose) -> Path:
        """Where a file's encrypted form is."""
        return self._root / f"{place}.{purpose}{SUFFIX}"

    def write(self, place: str, purpose: Purpose, content: Iterable[bytes]) -> None:
        """Encrypt `content` (pieces of any size); after a power cut all of the old or all of the new is there.

        Raises StorageError; what was there then stays.
        """
        path = self.path(place, purpose)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write_synced(temporary, self._vault.seal_stream(purpose, place, content))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_directory(path.parent)
        except OSError as exc:
            raise StorageError(f"cannot write {path}: {exc.strerror}") from exc

    def read(self, place: str, purpose: Purpose) -> Iterator[bytes]:
        """The content in pieces, for memory or a memfd: it is whole only once the iteration has ended.

        Raises KeysCorrupt, NotFound, StorageError.
        """
        return self._vault.open_stream(purpose, place, _pieces(self.path(place, purpose)))

    def stale(self) -> list[tuple[str, Purpose]]:
        """Every file of an older epoch, the models last: they are large, and the least secret."""
        found = [
            named
            for path in sorted(self._root.rglob(f"*{SUFFIX}"))
            if (named := self._named(path)) and self._vault.stale(_first(path))
        ]
        return sorted(found, key=lambda named: named[1] is Purpose.MODELS)

    def reseal(self, place: str, purpose: Purpose) -> None:
        """Encrypt a file again, in the present epoch; raises KeysCorrupt, StorageError."""
        self.write(place, purpose, self.read(place, purpose))

    def _named(self, path: Path) -> tuple[str, Purpose] | None:
        place, _, purpose = str(path.relative_to(self._root)).removesuffix(SUFFIX).rpartition(".")
        if path.name.startswith(".") or purpose not in set(Purpose):
            return None
        return place, Purpose(purpose)


def _first(path: Path) -> bytes:
    with contextlib.closing(_pieces(path)) as pieces:
        return next(pieces, b"")


def _pieces(path: Path) -> Generator[bytes]:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def _write_synced(path: Path, content: Iterator[bytes]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
