"""How a TPM is reached. Imports its library (80 to 190 ms, 25 MB) when one is wanted, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edged.errors import KeysUnavailable
from edged.keys.tpm.policy import Approval, BootPolicy

if TYPE_CHECKING:
    from edged.keys.tpm.backend import TpmBackend

DEVICE: Final = "device:/dev/tpmrm0"


class TpmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which TPM, and where in it our things are."""

    tcti: str = DEVICE
    """The kernel's resource manager: without one, slots lost in a crash stay lost."""
    root: int = 0x81000001
    """The storage root key's handle."""
    indices: int = 0x0180ED00
    """The first of four NV indices."""
    owner_auth: bytes = b""
    """The TPM owner's password, on machines that have one."""
    vendors: Path | None = None
    """The folder of the vendors' certificates to believe; None: no TPM is taken for hardware."""


def open_tpm(
    settings: TpmSettings,
    *,
    pinned: bytes = b"",
    rule: BootPolicy | None = None,
    approvals: Sequence[Approval] = (),
    recovery: bytes = b"",
) -> TpmBackend:
    """The backend, which opens the TPM at its first use (see there for the arguments).

    Raises KeysUnavailable where the library is not installed, ValueError for a TCTI that is not to be used.
    """
    try:
        from edged.keys.tpm.backend import TpmBackend  # noqa: PLC0415 - heavy, and optional
        from edged.keys.tpm.device import Device  # noqa: PLC0415 - likewise
    except (ImportError, OSError, RuntimeError) as exc:
        raise KeysUnavailable(
            f"the TPM's library is not installed: pip install 'edged[tpm]' ({exc})"
        ) from exc
    return TpmBackend(
        Device(settings.tcti, owner_auth=settings.owner_auth),
        pinned=pinned,
        root=settings.root,
        indices=settings.indices,
        vendors=settings.vendors,
        rule=rule,
        approvals=approvals,
        recovery=recovery,
    )
