"""Model versions on disk: admit, activate, roll back, remove, quarantine.

A version is admitted only when every file is the one its manifest names and every variant passed its pre-flight. The
files are read once, into sealed memory; what is refused never touches the disk. A kill at any point leaves the
library as it was before or after the operation. All methods block and may be called from any thread.
"""

from __future__ import annotations

import enum
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from edged.errors import NotFound, Rejected, StorageError, TooLarge, WrongHash
from edged.files import read_capped
from edged.inference import memfd
from edged.inference.manifest import Manifest, Variant
from edged.inference.manifest import load as load_manifest
from edged.inference.memfd import Source
from edged.inference.models import sealing, slots
from edged.inference.models.journal import Journal, Suspect
from edged.inference.models.parcel import Parcel, Progress, parse_labels, variant_named
from edged.inference.models.sealing import Sealer
from edged.inference.trial.report import Report, Trial


class State(enum.Enum):
    """What a version may do."""

    ACTIVE = "active"
    READY = "ready"
    QUARANTINED = "quarantined"


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one model, as the library has it."""

    name: str
    version: str
    state: State
    reason: str | None = None
    """Why it is quarantined."""
    previous: bool = False
    """Whether a rollback leads here."""
    size_bytes: int = 0
    reports: dict[str, Report] = {}
    """What the pre-flight measured, by variant."""


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What the library takes at most."""

    file_bytes: int = 256 << 20
    total_bytes: int = 4 << 30
    """Of all versions together."""
    reserve_bytes: int = 64 << 20
    """Free space that a new version leaves to others."""
    versions: int = 16
    """Of one model."""
    models: int = 64


class Library:
    """The versions under `root`, which belongs to this process alone."""

    def __init__(
        self,
        root: Path,
        preflight: Callable[[Trial], Report],
        caps: Caps | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self._root = root
        self._preflight = preflight
        self._caps = caps or Caps()
        self._sealer = sealer
        self._adding = threading.Lock()  # one pre-flight at a time: memory
        self._lock = threading.RLock()
        self._manifests: dict[tuple[str, str], Manifest] = {}
        slots.sweep(root)
        self._journal = Journal(root / ".loading")
        self.suspects: list[Suspect] = self._settle()
        """Loads that the last process did not survive; the guilty ones are quarantined."""

    # --- what is there

    def entries(self) -> list[Slot]:
        """Every version, by model and version."""
        with self._lock:
            return [self._slot(n, v) for n, versions in slots.versions(self._root).items() for v in versions]

    def active(self) -> list[Slot]:
        """The versions that serve, one a model at most."""
        return [slot for slot in self.entries() if slot.state is State.ACTIVE]

    def slot(self, name: str, version: str) -> Slot:
        """One version; raises NotFound."""
        with self._lock:
            self._path(name, version)
            return self._slot(name, version)

    def manifest(self, name: str, version: str) -> Manifest:
        """A version's manifest; raises NotFound, StorageError where it is damaged."""
        with self._lock:
            key = (name, version)
            if key not in self._manifests:
                text = self._read(name, version, slots.MANIFEST, slots.MANIFEST_BYTES)
                self._manifests[key] = load_manifest(text.decode())
            return self._manifests[key]

    def labels(self, name: str, version: str) -> list[str]:
        """The labels of a version's output; empty where it has none."""
        declared = getattr(self.manifest(name, version).output, "labels", [])
        if isinstance(declared, list):
            return declared
        return parse_labels(declared, self._read(name, version, declared, self._caps.file_bytes))

    def open_variant(self, name: str, version: str, variant: str) -> int:
        """A sealed memory file with a variant's bytes, hashed while copied; the caller owns the descriptor.

        Raises NotFound, StorageError where the disk no longer holds what was admitted, and for a private model what
        keeps the keys from opening it.
        """
        manifest = self.manifest(name, version)
        chosen = variant_named(manifest, variant)
        with self._lock:
            path = self._path(name, version)
        sealed = memfd.seal(self._source(path, manifest, chosen.file), self._caps.file_bytes, chosen.file)
        if sealed.sha256 != chosen.sha256:
            sealed.close()
            raise StorageError(f"{path / chosen.file} is damaged: its SHA-256 is no longer the admitted one")
        return sealed.fd

    def examine(self, name: str, version: str, *, progress: Progress | None = None) -> dict[str, Report]:
        """Hash every file of a version and try every variant again, as `add` does; by variant. Changes nothing.

        Raises NotFound, StorageError where the disk no longer holds what was admitted, BadModel where a variant would
        not be admitted now.
        """
        with self._lock:
            path = self._path(name, version)
            record = slots.read_record(path)
        text = self._read(name, version, slots.MANIFEST, slots.MANIFEST_BYTES).decode()
        manifest, admitted = self.manifest(name, version), record.sha256 if record else {}
        files = {file: self._source(path, manifest, file) for file in admitted if file != slots.MANIFEST}
        try:
            parcel = Parcel(text, files, self._caps.file_bytes, progress)
        except (NotFound, WrongHash) as exc:
            raise StorageError(f"{path} is damaged: {exc.message}") from exc
        with self._adding, parcel:
            return {v.name: self._try(parcel, v, progress) for v in parcel.manifest.variants}

    # --- what changes it

    def add(
        self, manifest_text: str, files: Mapping[str, Source], *, progress: Progress | None = None
    ) -> Slot:
        """Admit a version, without activating it; the same version twice is admitted once.

        Raises BadManifest, BadArgument (a file too many or missing), WrongHash, BadModel, TooLarge, Rejected (this
        version exists and is different), KeysUnavailable (it is private, and there are no keys), StorageError. After
        any of them the library is what it was.
        """
        with (
            self._adding,
            Parcel(manifest_text, files, self._caps.file_bytes, progress) as parcel,
        ):
            if existing := self._existing(parcel):
                return existing
            sealing.check(parcel.manifest, self._sealer)
            self._check_room(parcel)
            reports = {v.name: self._try(parcel, v, progress) for v in parcel.manifest.variants}
            return self._store(parcel, reports)

    def activate(self, name: str, version: str) -> Slot:
        """Let a version serve; the one before it becomes the previous. Raises NotFound, Rejected, StorageError."""
        with self._lock:
            slot = self.slot(name, version)
            if slot.state is State.QUARANTINED:
                raise Rejected(f"{name} {version} is quarantined: {slot.reason}")
            if slot.state is not State.ACTIVE:
                before = slots.read_pointers(self._root / name)
                slots.write_pointers(self._root / name, slots.Pointers(version, before.active))
            return self._slot(name, version)

    def rollback(self, name: str) -> Slot:
        """Let the previous version serve again; a second rollback undoes the first. Raises NotFound, Rejected."""
        with self._lock:
            home = self._home(name)
            pointers = slots.read_pointers(home)
            if pointers.previous is None:
                raise Rejected(f"{name} has no previous version")
            slots.write_pointers(home, slots.Pointers(pointers.previous, pointers.active))
            return self._slot(name, pointers.previous)

    def remove(self, name: str, version: str | None = None) -> None:
        """Remove a version, or a model with all of its versions. Raises NotFound, Rejected for the one that serves."""
        with self._lock:
            if version is None:
                slots.discard(self._root, self._home(name))
            else:
                path, pointers = self._path(name, version), slots.read_pointers(self._root / name)
                if version == pointers.active:
                    raise Rejected(
                        f"{name} {version} is active; activate another version, or remove the model"
                    )
                if version == pointers.previous:
                    slots.write_pointers(path.parent, slots.Pointers(pointers.active, None))
                slots.discard(self._root, path)
            self._forget(name, version)

    def quarantine(self, name: str, version: str, reason: str) -> Slot | None:
        """Bar a version from serving; the version that serves in its place, or None. Raises NotFound, StorageError."""
        with self._lock:
            slots.write_quarantine(self._path(name, version), reason)
            self._repair(name)
            serving = slots.read_pointers(self._root / name).active
            return self._slot(name, serving) if serving else None

    # --- loading into this process

    def watch(self) -> None:
        """Let a fatal signal in this process leave a trace that the next start reads; process-wide."""
        self._journal.watch()

    def begin_load(self, name: str, version: str, variant: str) -> None:
        """Note that this variant is about to be loaded; raises NotFound, StorageError."""
        with self._lock:
            self._path(name, version)
            self._journal.begin(name, version, variant)

    def end_load(self, name: str, version: str, variant: str) -> None:
        """Its first invoke succeeded, or the load failed in good order."""
        with self._lock:
            self._journal.end(name, version, variant)

    # --- inside

    def _settle(self) -> list[Suspect]:
        """Quarantine what killed the last process, and repair pointers that a kill left half-way."""
        suspects = self._journal.settle()
        for suspect in suspects:
            path = self._root / suspect.entry.name / suspect.entry.version
            if suspect.guilty and path.is_dir():
                slots.write_quarantine(path, suspect.reason)
        for name in slots.versions(self._root):
            self._repair(name)
        return suspects

    def _repair(self, name: str) -> None:
        """Let the pointers name only versions that may serve."""
        home = self._root / name
        pointers = slots.read_pointers(home)
        active, previous = (
            v if v and self._may_serve(home / v) else None for v in (pointers.active, pointers.previous)
        )
        if active is None and pointers.active is not None:
            active, previous = previous, None
        if slots.Pointers(active, previous) != pointers:
            slots.write_pointers(home, slots.Pointers(active, previous))

    def _may_serve(self, path: Path) -> bool:
        return path.is_dir() and slots.read_quarantine(path) is None

    def _slot(self, name: str, version: str) -> Slot:
        path = self._root / name / version
        record, reason = slots.read_record(path), slots.read_quarantine(path)
        if record is None:
            reason = reason or "its record is damaged; remove it and add it again"
        pointers = slots.read_pointers(path.parent)
        state = State.QUARANTINED if reason else State.ACTIVE if version == pointers.active else State.READY
        return Slot(
            name=name,
            version=version,
            state=state,
            reason=reason,
            previous=version == pointers.previous,
            size_bytes=record.size_bytes if record else 0,
            reports=record.reports if record else {},
        )

    def _home(self, name: str) -> Path:
        if name not in slots.versions(self._root):
            raise NotFound(f"no model {name}")
        return self._root / name

    def _path(self, name: str, version: str) -> Path:
        if version not in slots.versions(self._root).get(name, []):
            raise NotFound(f"no model {name} {version}")
        return self._root / name / version

    def _read(self, name: str, version: str, file: str, cap_bytes: int) -> bytes:
        """A file of a version, hashed; raises NotFound, StorageError."""
        with self._lock:
            path = self._path(name, version)
            record = slots.read_record(path)
        try:
            content = read_capped(path / file, cap_bytes)
        except Rejected as exc:
            raise StorageError(f"{path / file} is damaged: {exc.message}") from exc
        if record is None or record.sha256.get(file) != hashlib.sha256(content).hexdigest():
            raise StorageError(f"{path / file} is damaged: its SHA-256 is no longer the admitted one")
        return content

    def _try(self, parcel: Parcel, variant: Variant, progress: Progress | None) -> Report:
        if progress:
            progress(f"pre-flight of {variant.file}", 0)
        return self._preflight(parcel.trial(variant))

    def _store(self, parcel: Parcel, reports: dict[str, Report]) -> Slot:
        name, version = parcel.manifest.name, parcel.manifest.version
        with slots.staged(self._root) as staging:
            self._write(staging, parcel)
            with self._lock:
                record = slots.Record(parcel.hashes(), parcel.size_bytes(), reports)
                slots.commit(staging, self._root / name / version, parcel.raw, record)
                return self._slot(name, version)

    def _write(self, staging: Path, parcel: Parcel) -> None:
        """Put every file into a staged version, encrypted where the manifest wants it."""
        hidden = sealing.encrypted(parcel.manifest)
        for file, sealed in parcel.files.items():
            content = memfd.pieces(sealed.fd, file)
            if file in hidden:
                content = sealing.usable(self._sealer).seal(sealing.place(parcel.manifest, file), content)
                slots.write_file(staging, file + sealing.SUFFIX, content)
            else:
                slots.write_file(staging, file, content)

    def _source(self, path: Path, manifest: Manifest, file: str) -> Source:
        """Where the content of a version's file is to be had."""
        if file not in sealing.encrypted(manifest):
            return path / file
        stored = file + sealing.SUFFIX
        data = memfd.pieces(path / stored, stored)
        return sealing.usable(self._sealer).open(sealing.place(manifest, file), data)

    def _existing(self, parcel: Parcel) -> Slot | None:
        manifest = parcel.manifest
        with self._lock:
            path = self._root / manifest.name / manifest.version
            if not path.is_dir():
                return None
            record = slots.read_record(path)
            if record is None or record.sha256 != parcel.hashes():
                raise Rejected(
                    f"{manifest.name} {manifest.version} exists and is different; give this one a new version"
                )
            return self._slot(manifest.name, manifest.version)

    def _check_room(self, parcel: Parcel) -> None:
        manifest, size = parcel.manifest, parcel.size_bytes()
        entries = self.entries()
        names = {slot.name for slot in entries}
        if manifest.name not in names and len(names) >= self._caps.models:
            raise TooLarge(f"there are {len(names)} models; the cap is {self._caps.models}")
        if sum(slot.name == manifest.name for slot in entries) >= self._caps.versions:
            raise TooLarge(f"{manifest.name} has {self._caps.versions} versions, the cap; remove one first")
        if sum(slot.size_bytes for slot in entries) + size > self._caps.total_bytes:
            raise TooLarge(
                f"all models together would be larger than the cap of {self._caps.total_bytes} bytes"
            )
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize < size + self._caps.reserve_bytes:
            raise StorageError(
                f"the disk has no room for {size} bytes and the {self._caps.reserve_bytes} kept free"
            )

    def _forget(self, name: str, version: str | None) -> None:
        for key in [k for k in self._manifests if k[0] == name and version in (None, k[1])]:
            del self._manifests[key]
