"""Sealed memory files: bytes that were hashed while copied, and that nobody can change afterwards.

A model mapped from an ordinary file dies with SIGBUS when somebody truncates it, and can be swapped between
the check and the use. A sealed memory file can do neither.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edged.errors import Rejected, StorageError, TooLarge
from edged.files import open_regular

Source = bytes | int | Path | Iterator[bytes]
"""Bytes, whole or in pieces, an open seekable descriptor (its offset is left alone), or the path of a regular file."""

_CHUNK = 1 << 20
_NOEXEC_SEAL = 0x0008  # MFD_NOEXEC_SEAL, Linux 6.3; some systems refuse a memory file without it
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Sealed(NamedTuple):
    """A sealed memory file; whoever holds this closes `fd`."""

    fd: int
    sha256: str
    size: int

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)

    def read(self) -> bytes:
        """All of it."""
        return os.pread(self.fd, self.size, 0)


def seal(
    source: Source, cap_bytes: int, name: str, *, progress: Callable[[int], object] | None = None
) -> Sealed:
    """Copy `source` into a new sealed memory file; `progress` is told the bytes of each step.

    Raises TooLarge, NotFound, Rejected (not a readable, seekable, regular file), StorageError.
    """
    digest, size = hashlib.sha256(), 0
    fd = create(name)
    try:
        for chunk in pieces(source, name):
            size += len(chunk)
            _check_size(size, cap_bytes, name)
            digest.update(chunk)
            _write(fd, chunk)
            if progress:
                progress(len(chunk))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as exc:
        os.close(fd)
        raise StorageError(f"cannot hold {name} in memory: {exc.strerror}") from exc
    except BaseException:
        os.close(fd)
        raise
    return Sealed(fd, digest.hexdigest(), size)


def create(name: str) -> int:
    """An empty, sealable memory file, closed on exec."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(f"edged:{name}"[:200], flags | _NOEXEC_SEAL)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # EINVAL: a kernel older than the flag
            raise StorageError(f"cannot make a memory file: {exc.strerror}") from exc
        return os.memfd_create(f"edged:{name}"[:200], flags)


def _check_size(size: int, cap_bytes: int, name: str) -> None:
    if size > cap_bytes:
        raise TooLarge(f"{name} is larger than the cap of {cap_bytes} bytes")


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def pieces(source: Source, name: str) -> Iterator[bytes]:
    """What `source` holds, at most 1 MiB at a time where the pieces are ours; raises as `seal`."""
    if isinstance(source, bytes):
        view = memoryview(source)
        yield from (bytes(view[at : at + _CHUNK]) for at in range(0, len(view), _CHUNK))
    elif isinstance(source, Iterator):
        yield from source
    elif isinstance(source, int):
        yield from _pread(source, name)
    else:
        fd = open_regular(source)
        try:
            yield from _pread(fd, name)
        finally:
            os.close(fd)


def _pread(fd: int, name: str) -> Iterator[bytes]:
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Rejected(f"{name}: the descriptor is not of a regular or memory file")
        at = 0
        while chunk := os.pread(fd, _CHUNK, at):
            at += len(chunk)
            yield chunk
    except OSError as exc:
        kind = (
            Rejected if exc.errno == errno.EBADF else StorageError
        )  # EBADF: gone, or opened for writing only
        raise kind(f"cannot read {name}: {exc.strerror}") from exc
