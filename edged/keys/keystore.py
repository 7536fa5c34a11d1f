"""The keystore: which backend holds this device's keys, and the blobs that only it can open. Pure.

A CBOR map. Nothing in it is secret; that it is the right one, the commit record says (`edged.keys.commits`).
"""

from __future__ import annotations

from typing import Final, Literal

import cbor2
import msgspec

from edged.errors import KeysCorrupt
from edged.keys.backend import Protection, Sealed
from edged.keys.config import Mode
from edged.keys.recovery import Wrapped

MAGIC: Final = "edged-keystore"
VERSION: Final = 1

Kind = Literal["tpm", "credential", "hostfile"]


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch's root secret."""

    epoch: int
    sealed: Sealed
    check_value: bytes
    recovery: Wrapped | None = None
    """The same secret for the offline recovery key, where one was given."""


class Keystore(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to use the keys again, beside the backend itself."""

    magic: str = MAGIC
    version: int = VERSION
    kind: Kind
    mode: Mode
    """As it was when the keys were made; it never changes."""
    device: bytes
    """The backend's `device` then."""
    roots: tuple[Root, ...]
    """Oldest first; the last one seals what is written now, all of them open what was written before."""
    authority: Sealed
    """What the backend's counter, record and keys obey to; shown to it at every start."""
    identity: Sealed
    identity_public: bytes
    attestation: Sealed | None = None
    """The key that quotes are signed with; a TPM has one."""
    recovery_public: bytes | None = None
    """The recovery key (DER SubjectPublicKeyInfo) that every new root is wrapped for."""
    drilled_s: int | None = None
    """Wall time at which the recovery key was last proven to open all of it."""

    @property
    def epoch(self) -> int:
        """Of what is sealed now."""
        return self.roots[-1].epoch


def encode(keystore: Keystore) -> bytes:
    """Deterministic CBOR."""
    return cbor2.dumps(msgspec.to_builtins(keystore, builtin_types=(bytes,)), canonical=True)


def decode(data: bytes) -> Keystore:
    """The other way; KeysCorrupt for anything else."""
    try:
        keystore = msgspec.convert(cbor2.loads(data), Keystore, builtin_types=(bytes,))
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
        raise KeysCorrupt(
            f"the keystore is damaged ({exc}): restore it from a backup, or recover the keys"
        ) from exc
    if keystore.magic != MAGIC or keystore.version != VERSION or not keystore.roots:
        raise KeysCorrupt(
            f"the keystore is not one that this version of edged reads (it reads version {VERSION})"
        )
    return keystore


def kind_of(protection: Protection) -> Kind:
    """The backend that protects so."""
    if protection in (Protection.TPM_HW, Protection.TPM, Protection.TPM_SW):
        return "tpm"
    return "hostfile" if protection is Protection.HOSTFILE else "credential"
