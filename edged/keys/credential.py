"""The wrapping key as a credential of the service: systemd decrypts it at the start, with the TPM or the host's key.

`systemd-creds encrypt --name=edged.root - /etc/credstore.encrypted/edged.root` takes 32 random bytes or more from its
standard input; the unit has `LoadCredentialEncrypted=edged.root`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edged.errors import KeysCorrupt, KeysUnavailable
from edged.files import read_capped
from edged.keys.backend import Protection
from edged.keys.secret import ROOT_BYTES, Secret
from edged.keys.software import SoftwareBackend

NAME: Final = "edged.root"
LEDGER_FILE: Final = "credential.ledger"
CREDENTIAL_MAX_BYTES: Final = 4096
HOST_KEY: Final = Path("var/lib/systemd/credential.secret")
"""systemd-creds(1): part of the key of every credential encrypted with `host`."""

MEANING: Final = {
    Protection.CREDENTIAL_TPM: "systemd opens the keys' wrapping key with the TPM; an older state of the disk put back "
    "is not noticed",
    Protection.CREDENTIAL_HOST: "systemd opens the keys' wrapping key with a secret that may lie on this same disk: "
    "whoever copies all of it has every secret, can pass for this device, and can put an older state back unnoticed",
}


def path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where systemd has put the credential for this process; None where it gave none."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    found = Path(directory) / NAME if directory else None
    return found if found and found.is_file() else None


def open_(directory: Path, device: bytes, credential: Path | None, root: Path = Path("/")) -> SoftwareBackend:
    """The backend on systemd's credential, with the ledger in `directory`; raises KeysUnavailable, KeysCorrupt."""
    if credential is None:
        raise KeysUnavailable(
            f"these keys are wrapped with the systemd credential {NAME}, which this process was not given: start edged "
            f"by its unit, with LoadCredentialEncrypted={NAME}"
        )
    value = read_capped(credential, CREDENTIAL_MAX_BYTES)
    if len(value) < ROOT_BYTES:
        raise KeysCorrupt(f"the credential {NAME} has {len(value)} bytes: it needs {ROOT_BYTES} random ones")
    wrapping = Secret(hashlib.sha256(b"edged/v1/credential\0" + value).digest())
    return SoftwareBackend(wrapping, directory / LEDGER_FILE, device, _protection(root))


def _protection(root: Path) -> Protection:
    """As far as can be told: a credential does not say what it was encrypted with.

    Where the host has no key of its own and there is a TPM, the TPM is what can have opened it.
    """
    try:
        host = (root / HOST_KEY).exists()
    except PermissionError:  # the directory is root's; a key may be in it
        host = True
    tpm = (root / "sys/class/tpm/tpm0").exists()
    return Protection.CREDENTIAL_TPM if tpm and not host else Protection.CREDENTIAL_HOST
