"""The device's state for another board: one file, encrypted to the recovery key.

    "edx1" | length 4 | CBOR of `Wrapped`, the file's key | the sealed form of a tar archive (`edged.keys.sealed`)

What only the old board can use is left out: wrapping keys and ledgers. The rest comes back under the new board's keys.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import struct
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

import cbor2
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import KeysCorrupt, Rejected, StorageError
from edged.files import open_regular, sync_directory
from edged.keys import credential, hostfile, recovery, sealed
from edged.keys.opening import BEGUN
from edged.keys.recovery import Wrapped
from edged.keys.sealed import Algorithm
from edged.keys.secret import ROOT_BYTES, Secret

MAGIC: Final = b"edx1"
KEYS: Final = "keys"
_PLACE: Final = b"export"
_LENGTH: Final = struct.Struct(">I")
_WRAPPED_MAX_BYTES: Final = 4096
_LEFT: Final = frozenset(
    {f"{KEYS}/{name}" for name in (hostfile.KEY_FILE, hostfile.LEDGER_FILE, credential.LEDGER_FILE, BEGUN)}
)
_NOT_STATE: Final = frozenset({"lock", "audit/reserve"})
_ASIDE: Final = "before-restore"
_READ_BYTES: Final = 1 << 18

Progress = Callable[[str, int], None]
"""Told each file, and how many bytes it has."""


class Exported(NamedTuple):
    """What was put into the file."""

    files: int
    content_bytes: int


def export(
    state: Path,
    target: Path,
    public: ec.EllipticCurvePublicKey,
    algorithm: Algorithm,
    progress: Progress = lambda *_: None,
) -> Exported:
    """Write everything below `state` into `target`, which must not exist; the daemon does not run meanwhile.

    Raises StorageError.
    """
    key = Secret(os.urandom(ROOT_BYTES))
    wrapped = cbor2.dumps(msgspec.to_builtins(recovery.wrap(key.reveal(), public), builtin_types=(bytes,)))
    head = sealed.new_header(algorithm, 0, os.urandom(sealed.SALT_BYTES))
    files = list(_files(state))
    try:
        with os.fdopen(
            os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
        ) as out:
            out.write(MAGIC + _LENGTH.pack(len(wrapped)) + wrapped)
            for piece in sealed.seal_chunks(head, key, _PLACE, _archive(state, files, progress)):
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        sync_directory(target.absolute().parent)
    except OSError as exc:
        raise StorageError(f"cannot write {target}: {exc.strerror}") from exc
    finally:
        key.wipe()
    return Exported(len(files), sum((state / name).stat().st_size for name in files))


def unpack(
    archive: Path, private: ec.EllipticCurvePrivateKey, state: Path, progress: Progress = lambda *_: None
) -> int:
    """Lay an export out below `state`, where no keys are yet; the number of files. Then `recover`.

    What the board had of its own under the same name (an audit log, models) is kept beside it as NAME.before-restore-….
    Nothing appears there before all of the file has proven right; the keys come last. Raises Rejected (another
    recovery key, keys are there), KeysCorrupt, StorageError.
    """
    if (state / KEYS).exists():
        raise Rejected(f"{state} has keys already: a restore needs a blank board")
    staged = state / f".restore-{secrets.token_hex(6)}"
    try:
        staged.mkdir(parents=True, mode=0o700)
        count = _extract(archive, private, staged, progress)
        aside = f"{_ASIDE}-{secrets.token_hex(4)}"
        for entry in sorted(staged.iterdir(), key=lambda path: path.name == KEYS):
            _replace(entry, state / entry.name, aside)
        sync_directory(state)
    except OSError as exc:
        raise StorageError(f"cannot restore into {state}: {exc.strerror or exc}") from exc
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return count


def _files(state: Path) -> Iterator[str]:
    for path in sorted(state.rglob("*")):
        name = str(path.relative_to(state))
        if (
            path.is_file()
            and not path.is_symlink()
            and name not in _LEFT | _NOT_STATE
            and not _temporary(path)
        ):
            yield name


def _temporary(path: Path) -> bool:
    return path.name.startswith(".") or path.suffix in (".sock", "-shm")


def _archive(state: Path, files: Iterable[str], progress: Progress) -> Iterator[bytes]:
    """A tar archive in pieces, in constant memory."""
    for name in files:
        path = state / name
        info = tarfile.TarInfo(name)
        info.size, info.mode = path.stat().st_size, path.stat().st_mode & 0o777
        progress(name, info.size)
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield from _exactly(path, info.size)
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(tarfile.RECORDSIZE)


def _exactly(path: Path, size: int) -> Iterator[bytes]:
    with os.fdopen(open_regular(path), "rb") as file:
        left = size
        while left:
            if not (piece := file.read(min(left, _READ_BYTES))):
                raise StorageError(f"{path} shrank while it was exported: is the daemon running?")
            left -= len(piece)
            yield piece


def _extract(archive: Path, private: ec.EllipticCurvePrivateKey, into: Path, progress: Progress) -> int:
    with os.fdopen(open_regular(archive), "rb") as file:
        key = Secret(recovery.unwrap(_wrapped(file), private))
        head = sealed.header(file.read(sealed.HEADER.size))
        plain = _Plain(sealed.open_chunks(head, key, _PLACE, _rest(file)))
        try:
            return _lay_out(plain, into, progress)
        except tarfile.TarError as exc:
            raise KeysCorrupt(f"{archive} is damaged: {exc}") from exc
        finally:
            key.wipe()


def _lay_out(plain: _Plain, into: Path, progress: Progress) -> int:
    count = 0
    with tarfile.open(fileobj=io.BufferedReader(plain, _READ_BYTES), mode="r|") as tar:
        for member in tar:
            if not member.isreg():
                raise KeysCorrupt(f"the export holds something else than files: {member.name}")
            progress(member.name, member.size)
            tar.extract(member, into, filter="data")
            count += 1
    plain.drain()
    for path in (*into.rglob("*"), into):
        if path.is_dir():
            path.chmod(0o700)
        _sync(path)
    return count


def _wrapped(file: IO[bytes]) -> Wrapped:
    magic, length = file.read(len(MAGIC)), file.read(_LENGTH.size)
    if magic != MAGIC or len(length) != _LENGTH.size or _LENGTH.unpack(length)[0] > _WRAPPED_MAX_BYTES:
        raise Rejected("not an export of edged")
    try:
        return msgspec.convert(
            cbor2.loads(file.read(_LENGTH.unpack(length)[0])), Wrapped, builtin_types=(bytes,)
        )
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
        raise KeysCorrupt(f"the export is damaged: {exc}") from exc


def _rest(file: IO[bytes]) -> Generator[bytes]:
    while piece := file.read(_READ_BYTES):
        yield piece


def _replace(entry: Path, target: Path, aside: str) -> None:
    """A whole tree into place, and what is there out of its way."""
    if target.exists():
        target.rename(target.with_name(f"{target.name}.{aside}"))
    entry.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Plain(io.RawIOBase):
    """Pieces of bytes as a file that is read forward."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed has any buffer; io gives this one
        while not self._waiting and (piece := next(self._pieces, None)) is not None:
            self._waiting = piece
        size = min(len(buffer), len(self._waiting))
        buffer[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size

    def drain(self) -> None:
        """Read to the end: only then it is known to be the end."""
        for _ in self._pieces:
            pass
