"""Key directories of boards that do not exist, and what is noted about them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from edged.keys.config import KeysConfig, Mode
from edged.keys.opening import Keyplace
from tests.rig.swtpm import Swtpm


class Noted:
    """Remembers every event; `refuse` makes the next one fail."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.refuse: Exception | None = None

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        if self.refuse:
            raise self.refuse
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


def board(root: Path, serial: str = "10000000abcdef01") -> Path:
    """The files by which a Raspberry Pi is known."""
    (root / "proc/device-tree").mkdir(parents=True, exist_ok=True)
    (root / "proc/device-tree/serial-number").write_text(f"{serial}\0")
    return root


def keyplace(
    state: Path,
    note: Noted | None = None,
    *,
    tpm: Mode = "off",
    tcti: str = "",
    serial: str = "10000000abcdef01",
) -> Keyplace:
    """The keys below a state directory, on a board of its own."""
    root = board(state.parent / f"{state.name}-board", serial)
    config = KeysConfig(tpm=tpm, tcti=tcti or "device:/dev/none", board_root=str(root))
    return Keyplace(state / "keys", config, note or Noted(), environ={})


class Device:
    """One board with its state and, where it has one, its TPM; `place` opens its keys as a fresh process would."""

    def __init__(
        self, folder: Path, tpm: Swtpm | None = None, *, mode: Mode | None = None, serial: str = "1a2b3c"
    ) -> None:
        self.state = folder / "state"
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tpm = tpm
        self.noted = Noted()
        self._mode: Mode = mode or ("off" if tpm is None else "required")
        self._serial = serial

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    def place(self, mode: Mode | None = None) -> Keyplace:
        tcti = "" if self.tpm is None else self.tpm.tcti
        return keyplace(self.state, self.noted, tpm=mode or self._mode, tcti=tcti, serial=self._serial)

    def image(self, to: Path) -> Path:
        """A copy of the whole disk, as with dd."""
        return shutil.copytree(self.state, to)

    def flash(self, image: Path) -> None:
        """Put an image back."""
        shutil.rmtree(self.state)
        shutil.copytree(image, self.state)
