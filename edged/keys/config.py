"""What the owner of a device may set about its keys."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Absolute = Annotated[str, Meta(pattern="^/")]
Pcr = Annotated[int, Meta(ge=0, le=23)]
Mode = Literal["required", "preferred", "off"]


class KeysConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[keys]` table."""

    tpm: Mode = "preferred"
    """required starts on no TPM at all, preferred does without where there is none. Read once, when the keys are
    made, and kept beside them: a later change of this line weakens nothing."""
    tcti: str = "device:/dev/tpmrm0"
    """Where the TPM answers. Always named: the library's own search ends at a TCP port of this machine."""
    wait_s: Annotated[float, Meta(ge=0, le=300)] = 30.0
    """How long a start waits for a TPM that this device was enrolled with: on SPI and OP-TEE it appears late."""
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    """After it one use of the keys has failed and the TPM counts as hung: a signature takes up to 0.6 s."""
    pcrs: list[Pcr] = msgspec.field(default_factory=list)
    """Registers of measured boot that the root secret is bound to; none where the firmware measures nothing. As it was
    when the keys were made: a change of it needs the recovery key."""
    approver: Annotated[str, Meta(pattern="^(/.*)?$")] = ""
    """The public key (PEM, P-256) that approves measured states; with `pcrs`."""
    approvals: Absolute = "/etc/edged/approvals"
    """Its approvals, a file each: they come with the firmware they are for."""
    ek_roots: Absolute = "/etc/edged/ek-roots"
    """TPM vendors' root certificates (PEM): a TPM whose endorsement key chains to one counts as hardware."""
    tls_key: Literal["tpm-native", "tpm-sealed", "file"] = "tpm-sealed"
    """tpm-native never leaves the TPM and needs its OpenSSL provider, tried at the start; tpm-sealed is opened into
    memory at the start; file lies open on the disk."""
    board_root: Absolute = "/"
    """Where proc, sys and etc are, for the board's serial number; another place only to try a recorded board."""
