"""Model versions as directories: how one is written so that a power cut leaves all of it or nothing, and read back.

    <root>/<name>/<version>/manifest.toml, the model's files, .record.json, .quarantined
    <root>/<name>/.pointers.json
    <root>/.staging/<random>/        a version under way; swept at start

Names of models, versions and files never begin with a dot, so ours collide with none of theirs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edged.errors import StorageError
from edged.files import atomic_write, read_capped, sync_directory, write_synced
from edged.inference.trial.report import Report

MANIFEST = "manifest.toml"
RECORD, QUARANTINED, POINTERS, STAGING = ".record.json", ".quarantined", ".pointers.json", ".staging"
MANIFEST_BYTES = 1 << 18
RECORD_BYTES = 1 << 20


class Record(msgspec.Struct, frozen=True):
    """What was true when a version was admitted."""

    sha256: dict[str, str]
    """Of every file of the slot, the manifest included."""
    size_bytes: int
    reports: dict[str, Report]
    """Of the pre-flight, by variant."""


class Pointers(msgspec.Struct, frozen=True):
    """Which version of a model serves, and which one served before it."""

    active: str | None = None
    previous: str | None = None


@contextlib.contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A fresh directory for a version under way; removed at the end unless it was committed."""
    directory = root / STAGING / secrets.token_hex(8)
    try:
        directory.mkdir(mode=0o700, parents=True)
    except OSError as exc:
        raise StorageError(f"cannot make {directory}: {exc.strerror}") from exc
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def write_file(directory: Path, name: str, content: Iterable[bytes]) -> None:
    """Put a file into a staged version, synced; raises StorageError."""
    try:
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in content:
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise StorageError(f"cannot store {name}: {exc.strerror}") from exc


def commit(staging: Path, place: Path, manifest: bytes, record: Record) -> None:
    """Make a staged version part of the library at `place`, all at once; raises StorageError."""
    try:
        write_synced(staging / MANIFEST, manifest)
        write_synced(staging / RECORD, msgspec.json.encode(record))
        sync_directory(staging)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        staging.rename(place)
        sync_directory(place.parent)
        sync_directory(place.parent.parent)
    except OSError as exc:
        raise StorageError(f"cannot store {place}: {exc.strerror}") from exc


def discard(root: Path, path: Path) -> None:
    """Remove a version or a whole model: first out of sight in one step, then piece by piece."""
    grave = root / STAGING / secrets.token_hex(8)
    try:
        path.rename(grave)
        sync_directory(path.parent)
    except OSError as exc:
        raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc
    shutil.rmtree(grave, ignore_errors=True)


def sweep(root: Path) -> None:
    """Make the root if needed and clear what a killed process left under way; raises StorageError."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(root / STAGING, ignore_errors=True)
        (root / STAGING).mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"cannot use {root}: {exc.strerror}") from exc


def versions(root: Path) -> dict[str, list[str]]:
    """The model and version directories that are there, sorted."""
    homes = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return {
        home.name: sorted(p.name for p in home.iterdir() if p.is_dir() and not p.name.startswith("."))
        for home in sorted(homes)
    }


def read_record(slot: Path) -> Record | None:
    """The record, or None where it is damaged."""
    with contextlib.suppress(Exception):  # damage of any kind is one finding
        return msgspec.json.decode(read_capped(slot / RECORD, RECORD_BYTES), type=Record)
    return None


def read_pointers(home: Path) -> Pointers:
    """The pointers; none where there are none, or they are damaged."""
    with contextlib.suppress(Exception):  # likewise
        return msgspec.json.decode(read_capped(home / POINTERS, 4096), type=Pointers)
    return Pointers()


def write_pointers(home: Path, pointers: Pointers) -> None:
    """Replace the pointers, both at once; raises StorageError."""
    atomic_write(home / POINTERS, msgspec.json.encode(pointers))


def read_quarantine(slot: Path) -> str | None:
    """Why a version is quarantined, or None where it is not."""
    try:
        return (slot / QUARANTINED).read_text(encoding="utf-8", errors="replace")[:2000] or "unknown"
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"unreadable: {exc.strerror}"


def write_quarantine(slot: Path, reason: str) -> None:
    """Bar a version; raises StorageError."""
    atomic_write(slot / QUARANTINED, reason.encode()[:2000])
