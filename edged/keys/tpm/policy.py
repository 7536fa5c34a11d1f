"""Which measured states of a machine open its secrets: those a key of the fleet has signed. Pure, and needs no TPM.

A secret is bound to the approving key, not to a state: firmware changes with a new approval, and no secret is sealed
again. The way out, for a state nobody approved, is a recovery secret. The digests are part 3's: each command folds its
code and arguments into the policy (23.3 PolicySecret … 23.16 PolicyAuthorize).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import Meta

from edged.errors import KeysPolicy
from edged.keys.tpm import names

PCR_BYTES: Final = 32
REFERENCE: Final = b"edged/v1/state"
"""What an approval is for: no other policy of the same key is taken for one."""

# part 2, 6.5.2: command codes
_POLICY_NV: Final = 0x149
_POLICY_AUTHORIZE: Final = 0x16A
_POLICY_AUTH_VALUE: Final = 0x16B
_POLICY_OR: Final = 0x171
_POLICY_PCR: Final = 0x17F

_EMPTY: Final = bytes(32)
_UNSIGNED_LE: Final = 0x0009  # part 2, 6.8: TPM_EO
_NOTHING_MEASURED: Final = frozenset({bytes(PCR_BYTES), b"\xff" * PCR_BYTES})

Pcr = Annotated[int, Meta(ge=0, le=23)]


class BootPolicy(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a secret is bound to."""

    approver: bytes
    """The key that approves states: ECDSA P-256, DER SubjectPublicKeyInfo."""
    pcrs: tuple[Pcr, ...]
    """The registers a state consists of, SHA-256 bank, ascending."""

    def branches(self) -> tuple[bytes, bytes]:
        """The two ways to satisfy it: an approved state, and the recovery secret."""
        approved = _fold(_EMPTY, _POLICY_AUTHORIZE, names.external_key(self.approver))
        return hashlib.sha256(approved + REFERENCE).digest(), _fold(_EMPTY, _POLICY_AUTH_VALUE)

    def digest(self) -> bytes:
        """The authPolicy of what is bound to it."""
        return _fold(_EMPTY, _POLICY_OR, *self.branches())

    def selection(self) -> bytes:
        """The registers as a TPML_PCR_SELECTION."""
        return selection(self.pcrs)


class Approval(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The fleet's word for one state."""

    state: bytes
    """The policy digest of the state (and generation) it is for."""
    signature: bytes
    """ECDSA P-256: r and s, 32 bytes each, big-endian."""
    generation: int | None = None
    """Good while the device's generation counter is not above this; None: for ever."""


def approve(
    key: ec.EllipticCurvePrivateKey,
    policy: BootPolicy,
    values: Mapping[int, bytes],
    *,
    generation: tuple[int, int] | None = None,
) -> Approval:
    """Sign one state, given as the predicted value of each register of `policy`; done where no TPM is.

    `generation` is the handle of the device's generation counter and the highest value it may have. Raises
    KeysPolicy where nothing is measured in these registers.
    """
    refuse_unmeasured(policy.pcrs, values)
    state = measured(policy, values)
    if generation is not None:
        state = until(state, *generation)
    r, s = decode_dss_signature(key.sign(state + REFERENCE, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return Approval(
        state=state, signature=signature, generation=None if generation is None else generation[1]
    )


def refuse_unmeasured(pcrs: tuple[int, ...], values: Mapping[int, bytes]) -> None:
    """Raises KeysPolicy where the registers hold what they hold after a reset: a policy on them protects nothing."""
    if not pcrs or all(values[pcr] in _NOTHING_MEASURED for pcr in pcrs):
        listed = ", ".join(map(str, pcrs)) or "none"
        raise KeysPolicy(
            f"nothing is measured into the PCRs of the policy ({listed}): this firmware does not measure its boot, "
            "and a secret bound to them would open to any system; leave the policy out"
        )


def measured(policy: BootPolicy, values: Mapping[int, bytes]) -> bytes:
    """The policy digest of one state."""
    digest = hashlib.sha256(b"".join(values[pcr] for pcr in policy.pcrs)).digest()
    return _fold(_EMPTY, _POLICY_PCR, policy.selection(), digest)


def until(state: bytes, handle: int, generation: int) -> bytes:
    """The policy digest of `state` while the counter at `handle` is not above `generation`."""
    offset_operation = struct.pack(">HH", 0, _UNSIGNED_LE)
    arguments = hashlib.sha256(generation.to_bytes(8, "big") + offset_operation).digest()
    return _fold(state, _POLICY_NV, arguments, names.index(handle, names.NV_COUNTER, 8))


def selection(pcrs: tuple[int, ...]) -> bytes:
    """A TPML_PCR_SELECTION of SHA-256 registers (part 2, 10.9.7)."""
    bits = sum(1 << pcr for pcr in set(pcrs))
    return struct.pack(">IHB", 1, 0x000B, 3) + bits.to_bytes(3, "little")


def _fold(before: bytes, command: int, *arguments: bytes) -> bytes:
    return hashlib.sha256(before + struct.pack(">I", command) + b"".join(arguments)).digest()
