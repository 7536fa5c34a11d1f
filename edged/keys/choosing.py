"""Which backend holds this device's keys, or will.

A keystore that names a weaker backend than the TPM counts for nothing while the TPM still knows a device.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edged.errors import KeysReplaced, KeysUnavailable
from edged.keys import board, credential, hostfile
from edged.keys.backend import Backend
from edged.keys.config import KeysConfig, Mode
from edged.keys.keystore import Keystore, Kind
from edged.keys.tpm.opening import TpmSettings, open_tpm

if TYPE_CHECKING:
    from edged.keys.tpm.backend import TpmBackend

TPM_REMEDY: Final = (
    "Attach or enable a TPM 2.0 (Raspberry Pi: dtoverlay=tpm-slb9670; Jetson: the fTPM), let this user open it "
    "(group tss), install edged[tpm]"
)


class Backends:
    """The three backends as they are on this machine."""

    def __init__(self, directory: Path, config: KeysConfig, environ: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._config = config
        self._root = Path(config.board_root)
        self._device = board.mark(self._root).digest
        self._credential = credential.path(environ)

    def make(self, mode: Mode) -> Backend:
        """The backend for new keys: the strongest there is, within `mode`.

        Raises KeysUnavailable: `required` and no TPM, or a TPM that is there and does not answer.
        """
        if mode != "off" and (tpm := self.tpm()) is not None:
            return tpm
        if mode == "required":
            raise KeysUnavailable(
                f"[keys] tpm = required, and {self._without_tpm()}. {TPM_REMEDY}, or choose preferred"
            )
        if self._credential is not None:
            return credential.open_(self._directory, self._device, self._credential, self._root)
        return hostfile.make(self._directory, self._device)

    def find(self, keystores: Sequence[Keystore]) -> Backend | None:
        """The backend that knows this device, by what the keystores here claim; None where none does.

        Raises KeysUnavailable (a TPM is claimed and absent: nothing weaker takes its place) and KeysReplaced.
        """
        claimed = {keys.kind for keys in keystores}
        if "tpm" in claimed:
            devices = {keys.device for keys in keystores if keys.kind == "tpm"}
            backend = self.open("tpm", devices.pop() if len(devices) == 1 else b"")
            if len(claimed) == 1 or backend.record():
                return backend
            backend.close()  # it was about to take the keys over, and never did
            return self.open(min(claimed - {"tpm"}))
        if (tpm := self._tpm_that_knows()) is not None:
            if not claimed:
                return tpm
            tpm.close()
            raise KeysReplaced(
                f"the keystore says {', '.join(sorted(claimed))}, but the TPM knows this device: the keystore was "
                "swapped for a weaker one. Put the real one back from a backup, or recover the keys"
            )
        for kind in self._traces() if not claimed else sorted(claimed):
            return self.open(kind)
        return None

    def open(self, kind: Kind, pinned: bytes = b"") -> Backend:
        """A backend that keys were made with; `pinned` is its `device`, where another TPM is to be refused."""
        match kind:
            case "tpm":
                if (tpm := self.tpm(pinned)) is None:
                    raise KeysUnavailable(f"the keys are in a TPM, and {self._without_tpm()}. {TPM_REMEDY}")
                return tpm
            case "credential":
                return credential.open_(self._directory, self._device, self._credential, self._root)
            case "hostfile":
                return hostfile.open_(self._directory, self._device)

    def tpm(self, pinned: bytes = b"") -> TpmBackend | None:
        """The TPM, opened at its first use; None where there is none."""
        if self._without_tpm():
            return None
        settings = TpmSettings(tcti=self._config.tcti, vendors=Path(self._config.ek_roots))
        return open_tpm(settings, pinned=pinned)

    def _tpm_that_knows(self) -> Backend | None:
        if (tpm := self.tpm()) is None:
            return None
        if tpm.record():
            return tpm
        tpm.close()
        return None

    def _traces(self) -> list[Kind]:
        traces: dict[Kind, str] = {"credential": credential.LEDGER_FILE, "hostfile": hostfile.KEY_FILE}
        return [kind for kind, name in traces.items() if (self._directory / name).exists()]

    def _without_tpm(self) -> str:
        """Why there is no TPM to ask; empty where there is one."""
        if importlib.util.find_spec("tpm2_pytss") is None:
            return "the library for it is not installed (edged[tpm])"
        node = self._config.tcti.rpartition("path=" if "path=" in self._config.tcti else ":")[2]
        return "" if Path(node).exists() else f"there is no {node}"
