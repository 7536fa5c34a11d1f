"""Where the password for the broker comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from edged.errors import BadConfig

SEALED: Final = ".sealed"
"""How the names of files end that only the device's keys open."""


class Secrets(Protocol):
    """Whoever can read the files in which secrets are."""

    def read(self, path: Path) -> bytes:
        """The secret in a file, sealed or not; called at every connect, on a thread, and may block.

        Raises EdgedError where it cannot be had.
        """


class PlainFiles:
    """Without keys: what lies open, read as it is."""

    def read(self, path: Path) -> bytes:
        """Raises BadConfig."""
        if path.suffix == SEALED:
            raise BadConfig(f"{path} is sealed, and there are no keys here to open it")
        try:
            return path.read_bytes()
        except OSError as exc:
            raise BadConfig(f"cannot read {path}: {exc.strerror}") from exc
