"""Which backend holds this device's keys, or will.

A keystore that names a weaker backend than the TPM counts for nothing while the TPM still knows a device.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edged import cborwalk
from edged.errors import EdgedError, KeysPolicy, KeysReplaced, KeysUnavailable, Rejected
from edged.files import read_capped
from edged.keys import board, credential, hostfile, recovery
from edged.keys.backend import Backend
from edged.keys.config import KeysConfig, Mode
from edged.keys.keystore import Keystore, Kind
from edged.keys.tpm.opening import TpmSettings, open_tpm
from edged.keys.tpm.policy import Approval, BootPolicy

if TYPE_CHECKING:
    from edged.keys.tpm.backend import TpmBackend

TPM_REMEDY: Final = (
    "Attach or enable a TPM 2.0 (Raspberry Pi: dtoverlay=tpm-slb9670; Jetson: the fTPM), let this user open it "
    "(group tss), install edged[tpm]"
)


_RECOVERY_BYTES: Final = 32
_FILE_MAX_BYTES: Final = 1 << 16

_log = logging.getLogger(__name__)


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
        self.check(mode)
        if mode != "off" and (tpm := self.tpm()) is not None:
            return tpm
        if mode == "preferred":
            _log.warning("keys are made without a TPM: %s", self._without_tpm())
        if self._credential is not None:
            return credential.open_(self._directory, self._device, self._credential, self._root)
        return hostfile.make(self._directory, self._device)

    def check(self, mode: Mode) -> None:
        """Raises KeysUnavailable where `mode` wants a TPM, and there is none."""
        if mode == "required" and (why := self._without_tpm()):
            raise KeysUnavailable(f"[keys] tpm = required, and {why}. {TPM_REMEDY}, or choose preferred")

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
        if (tpm := self._tpm_that_knows(needed=not claimed and self._config.tpm != "off")) is not None:
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
        rule = boot_policy(self._config)
        if rule is None:
            return open_tpm(settings, pinned=pinned)
        # a way out of the policy that nobody knows: the recovery key unwraps the roots without the TPM
        nobodys = os.urandom(_RECOVERY_BYTES)
        return open_tpm(
            settings, pinned=pinned, rule=rule, approvals=approvals(self._config), recovery=nobodys
        )

    def _tpm_that_knows(self, *, needed: bool) -> Backend | None:
        """The TPM where it has a record of a device; one that does not answer stops nobody who does without it."""
        if (tpm := self.tpm()) is None:
            return None
        try:
            if tpm.record():
                return tpm
        except KeysUnavailable as exc:
            if needed:
                raise
            _log.warning("a TPM is there and cannot be asked: %s", exc.message)
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


def boot_policy(config: KeysConfig) -> BootPolicy | None:
    """What the root secret is bound to; None where nothing is measured. Raises KeysPolicy."""
    if not config.pcrs:
        return None
    try:
        public = recovery.load_public(read_capped(Path(config.approver), _FILE_MAX_BYTES))
    except Rejected as exc:
        raise KeysPolicy(f"[keys] pcrs need an approver, a P-256 public key in PEM: {exc.message}") from exc
    return BootPolicy(approver=recovery.spki(public), pcrs=tuple(sorted(set(config.pcrs))))


def approvals(config: KeysConfig) -> list[Approval]:
    """Every approval there is; one that cannot be read is passed over, and said."""
    found = []
    for path in sorted(Path(config.approvals).glob("*")):
        try:
            content = cborwalk.decode(read_capped(path, _FILE_MAX_BYTES))
            found.append(msgspec.convert(content, Approval, builtin_types=(bytes,)))
        except (EdgedError, msgspec.ValidationError) as exc:
            _log.warning("approval passed over file=%s: %s", path, exc)
    return found
