"""The device's keys as other rooms need them. Only where there are keys: cryptography comes with this."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from edged.errors import BadConfig, EdgedError
from edged.keys.keyring import Keyring
from edged.keys.sealedfiles import SUFFIX, SealedFiles
from edged.keys.vault import Purpose
from edged.links.mqtt.secrets import PlainFiles

_ENDS: Final = f".{Purpose.SECRETS}{SUFFIX}"
_log = logging.getLogger("edged")


class SpoolKeys:
    """See `links.spool.values.Sealer`."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @property
    def problem(self) -> EdgedError | None:
        """Why the keys do not open."""
        return self._keyring.problem

    def seal(self, place: str, plain: bytes) -> bytes:
        """Encrypt; raises as `Keyring.sealer`."""
        return self._keyring.sealer(Purpose.SPOOL).seal(place, plain)

    def open(self, place: str, data: bytes) -> bytes:
        """The content again; KeysCorrupt where just this does not open."""
        return self._keyring.sealer(Purpose.SPOOL).open(place, data)


class DeviceSecrets:
    """See `links.mqtt.secrets.Secrets`. On any thread."""

    def __init__(self, keyring: Keyring, state: Path) -> None:
        self._keyring, self._state = keyring, state.absolute()
        self._warned: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """What `edged keys seal` wrote, opened; any other file as it is, with a warning.

        Raises BadConfig, NotFound, and as `Keyring.sealer`.
        """
        if path.name.endswith(_ENDS):
            return b"".join(
                SealedFiles(self._keyring.vault, self._state).read(self._place(path), Purpose.SECRETS)
            )
        said = PlainFiles().read(path)
        if path not in self._warned:
            self._warned.add(path)
            _log.warning(
                "a secret lies open although there are keys path=%s: edged keys seal covers it", path
            )
        return said

    def _place(self, path: Path) -> str:
        if not path.is_relative_to(self._state) or ".." in path.parts:
            raise BadConfig(
                f"{path}: sealed files open below {self._state} alone, where edged keys seal puts them"
            )
        return str(path.relative_to(self._state)).removesuffix(_ENDS)
