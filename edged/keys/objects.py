"""Files named by their hash: nothing is ever overwritten, so a power cut never leaves half of a change."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from edged.errors import EdgedError, KeysCorrupt, NotFound, StorageError
from edged.files import atomic_write, read_capped, sync_directory
from edged.keys.commits import identify

OBJECT_MAX_BYTES = 4 << 20
_NAMED = 16
_FILE = re.compile(rf"^([a-z][a-z0-9-]*)-([0-9a-f]{{{2 * _NAMED}}})$")
_TORN = re.compile(r"^\..+\.[0-9a-f]{12}$")  # what `atomic_write` leaves behind at a power cut


class Objects:
    """The objects in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, name: str, data: bytes) -> bytes:
        """Keep an object; it is on the disk when this returns. Its SHA-256. Raises StorageError."""
        identity = identify(data)
        path = self._path(name, identity)
        if not path.exists() or _unread(path) != data:
            atomic_write(path, data)
        return identity

    def get(self, name: str, identity: bytes) -> bytes:
        """An object; KeysCorrupt where it is not what it was, or not there."""
        path = self._path(name, identity)
        try:
            data = read_capped(path, OBJECT_MAX_BYTES)
        except NotFound as exc:
            raise KeysCorrupt(f"{path} is missing: put it back from a backup, or recover the keys") from exc
        if identify(data) != identity:
            raise KeysCorrupt(f"{path} is damaged: put it back from a backup, or recover the keys")
        return data

    def whole(self, name: str) -> dict[bytes, bytes]:
        """Every undamaged object of that name, by its SHA-256; one torn by a power cut is none."""
        found = {}
        for path in sorted(self._directory.glob(f"{name}-*")):
            if _FILE.match(path.name) and (data := _unread(path)) is not None:
                identity = identify(data)
                if path == self._path(name, identity):
                    found[identity] = data
        return found

    def keep(self, wanted: Iterable[tuple[str, bytes]]) -> None:
        """Remove every other object, and what a power cut left half written. What cannot be removed stays."""
        names = {self._path(name, identity).name for name, identity in wanted}
        for path in self._directory.iterdir():
            if path.name not in names and (_FILE.match(path.name) or _TORN.match(path.name)):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self, name: str, identity: bytes) -> Path:
        return self._directory / f"{name}-{identity[:_NAMED].hex()}"


def private_directory(path: Path) -> None:
    """A directory of mode 0700 whose own name survives a power cut; raises StorageError."""
    try:
        missing = [place for place in (path, *path.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(mode=0o700)
            sync_directory(place.parent)
    except OSError as exc:
        raise StorageError(f"cannot make {path}: {exc.strerror}") from exc


def remove_synced(path: Path) -> None:
    """Remove a file for good; raises StorageError."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as exc:
        raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc


def _unread(path: Path) -> bytes | None:
    try:
        return read_capped(path, OBJECT_MAX_BYTES)
    except EdgedError:  # whatever is wrong with it, it is not the object sought
        return None
