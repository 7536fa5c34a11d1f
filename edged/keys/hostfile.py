"""The weakest backend: the wrapping key lies open in a file. It protects against other users of this system alone."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

from edged.errors import KeysCorrupt, NotFound
from edged.files import atomic_write, read_capped
from edged.keys.backend import Protection
from edged.keys.secret import ROOT_BYTES, Secret
from edged.keys.software import SoftwareBackend

KEY_FILE: Final = "host.key"
LEDGER_FILE: Final = "host.ledger"

MEANING: Final = (
    "the keys lie in a file: whoever copies this disk has every secret on it, can pass for this device, "
    "and can put an older state back unnoticed"
)

_log = logging.getLogger(__name__)


def make(directory: Path, device: bytes) -> SoftwareBackend:
    """A wrapping key where there is none yet; the directory exists, of mode 0700."""
    if not (directory / KEY_FILE).exists():
        atomic_write(directory / KEY_FILE, os.urandom(ROOT_BYTES))
    return open_(directory, device)


def open_(directory: Path, device: bytes) -> SoftwareBackend:
    """The backend on an existing wrapping key.

    Raises KeysCorrupt where it is missing, damaged, or where others than its owner may read it.
    """
    path = directory / KEY_FILE
    try:
        _private(path)
        value = read_capped(path, ROOT_BYTES)
    except NotFound as exc:
        raise KeysCorrupt(f"{path} is missing: restore it from a backup, or recover the keys") from exc
    if len(value) != ROOT_BYTES:
        raise KeysCorrupt(f"{path} is damaged: restore it from a backup, or recover the keys")
    _log.warning("key_protection=%s: %s", Protection.HOSTFILE, MEANING)
    return SoftwareBackend(Secret(value), directory / LEDGER_FILE, device, Protection.HOSTFILE)


def _private(path: Path) -> None:
    for place, mode in ((path.parent, 0o700), (path, 0o600)):
        try:
            info = place.stat()
        except FileNotFoundError as exc:
            raise NotFound(f"no such file: {place}") from exc
        if info.st_mode & 0o077:
            others = f"{stat.S_IMODE(info.st_mode):04o}"
            raise KeysCorrupt(
                f"{place} has mode {others}, so others could have read it: chmod {mode:04o}, then rotate"
            )
        if info.st_uid not in (0, os.geteuid()):
            raise KeysCorrupt(f"{place} belongs to uid {info.st_uid}, not to this service: chown it back")
