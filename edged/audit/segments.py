"""The files of a log: `0000000000000001.audit` begins with record 1. One of them is written, at its end."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Final

from edged.audit.chain import BODY_MAX_BYTES, HASH_BYTES, LENGTH_BYTES, MAGIC
from edged.errors import NotFound, StorageError
from edged.files import open_regular, sync_directory

RESERVE_BYTES: Final = 1 << 20
"""Room for some 5,000 records where the disk has none."""
FILE_MAX_BYTES: Final = 128 << 20
"""More than any file that was written here."""

_NAME: Final = re.compile(r"[0-9]{16}\.audit")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FRAME_MAX_BYTES: Final = LENGTH_BYTES + BODY_MAX_BYTES + HASH_BYTES


def segments(directory: Path) -> list[Path]:
    """The files of a log, oldest first; raises NotFound and StorageError."""
    try:
        return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError as exc:
        raise NotFound(f"no audit log in {directory}") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {directory}: {exc.strerror}") from exc


def read(path: Path, cap_bytes: int = FILE_MAX_BYTES) -> bytes:
    """What a file holds, at most `cap_bytes` of it; raises NotFound, Rejected and StorageError."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read(cap_bytes)
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def beginning(path: Path) -> bytes:
    """Enough of a file to hold its first record."""
    return read(path, len(MAGIC) + _FRAME_MAX_BYTES)


def is_full(exc: OSError) -> bool:
    """Whether there was no room."""
    return exc.errno in _FULL


class Segment:
    """The file that is written; for one thread. What is appended is on the disk, or `dirty` says that it may be."""

    def __init__(self, path: Path, descriptor: int, size: int, room: int | None = None) -> None:
        self.path = path
        self.size = size
        self.room = room
        """Bytes it may have, where it was made from the reserve."""
        self.dirty = False
        """Whether something may stand behind what was appended: `repair` it before anything else is written."""
        self.ended = False
        """Whether what comes next goes into a new file."""
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, data: bytes) -> Segment:
        """A new file that begins with these bytes; raises OSError, and then something of it may be there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        segment = cls(path, os.open(path, flags, 0o640), 0)
        try:
            segment.append(data)
            sync_directory(path.parent)
        except OSError:
            segment.close()
            raise
        return segment

    @classmethod
    def resume(cls, path: Path, size: int) -> Segment:
        """Go on with a file, which is cut to `size` bytes; raises OSError."""
        segment = cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), size)
        try:
            if os.fstat(segment._descriptor).st_size != size:
                segment.repair()
        except OSError:
            segment.close()
            raise
        return segment

    def append(self, data: bytes) -> None:
        """Put this behind what is there, on the disk; raises OSError."""
        self.dirty = True
        view, at = memoryview(data), self.size
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written
        os.fdatasync(self._descriptor)
        self.size = at
        self.dirty = False

    def repair(self) -> None:
        """Remove what a failed `append` has left, for good; raises OSError. What was reserved is given back."""
        self.ended = self.ended or self.room is not None
        os.ftruncate(self._descriptor, self.size)
        os.fdatasync(self._descriptor)
        self.dirty = False

    def has_room(self, length: int) -> bool:
        """Whether so much more fits into what was reserved; always where nothing was."""
        return self.room is None or self.size + length <= self.room

    def close(self) -> None:
        """Let go of the file; what was reserved and not used is given back."""
        with contextlib.suppress(OSError):
            if self.room is not None and not self.dirty:
                os.ftruncate(self._descriptor, self.size)
        os.close(self._descriptor)


class Reserve:
    """A megabyte that is there although nobody needs it yet; when the disk is full, the log goes on in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "reserve"

    @property
    def there(self) -> bool:
        """Whether there is one."""
        try:
            return self._path.stat().st_size == RESERVE_BYTES
        except OSError:
            return False

    def fill(self) -> None:
        """Reserve again, if there is room."""
        if self.there:
            return
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(self._directory)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def spend(self, path: Path, data: bytes) -> Segment:
        """A file of the log in what was reserved, which begins with these bytes; raises OSError, likewise."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        segment = Segment(path, descriptor, 0, RESERVE_BYTES)
        try:
            segment.append(data)
            self._path.replace(path)
            sync_directory(self._directory)
        except OSError:
            segment.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            raise
        return segment
