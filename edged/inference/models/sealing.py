"""Private models: which of their files lie encrypted on the disk, and what this room needs of whoever encrypts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from edged.errors import DeviceError, KeysUnavailable
from edged.inference.manifest import Manifest, files

SUFFIX: Final = ".models.sealed"
"""Of an encrypted file's name: as a rotation of the keys looks for it (`edged.keys.sealedfiles`)."""


class Sealer(Protocol):
    """Encrypts and decrypts in pieces, bound to a place: `NAME/VERSION/FILE`. On any thread."""

    def ready(self) -> None:
        """Raises DeviceError, with the remedy, where there are no keys to use."""

    def seal(self, place: str, content: Iterable[bytes]) -> Iterator[bytes]:
        """The encrypted form; raises as `ready`."""

    def open(self, place: str, data: Iterable[bytes]) -> Iterator[bytes]:
        """The content again, whole only once the iteration has ended; raises KeysCorrupt, or as `ready`."""


def usable(sealer: Sealer | None) -> Sealer:
    """The one there is; raises KeysUnavailable, and as its `ready`."""
    if sealer is None:
        raise KeysUnavailable("there are no keys; edged keys init makes them")
    sealer.ready()
    return sealer


def encrypted(manifest: Manifest) -> frozenset[str]:
    """The files of a version that never lie open: of a private one all but its labels, which every answer shows."""
    if not manifest.private:
        return frozenset()
    return frozenset(files(manifest)) - {getattr(manifest.output, "labels", None)}


def place(manifest: Manifest, file: str) -> str:
    """What an encrypted file is bound to."""
    return f"{manifest.name}/{manifest.version}/{file}"


def check(manifest: Manifest, sealer: Sealer | None) -> None:
    """Raises KeysUnavailable for a private model that could only lie open here."""
    if not manifest.private:
        return
    try:
        usable(sealer)
    except DeviceError as exc:
        raise KeysUnavailable(
            f"{manifest.name} {manifest.version} is private, and this device cannot encrypt it: {exc.message}. "
            "Where it may lie open on the disk, take private = true out of its manifest"
        ) from exc
