"""What holds the root secret and the identity key, as the vault sees it.

All of it blocks: it is called on the keys' thread.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

import msgspec


class Protection(enum.StrEnum):
    """What protects the keys, from strongest to weakest; told in status, MCP, MQTT and the audit log."""

    TPM_HW = "tpm-hw"
    """A TPM whose endorsement certificate chains to a vendor's root."""
    TPM = "tpm"
    """A TPM that has not proven to be hardware."""
    TPM_SW = "tpm-sw"
    """A TPM that itself says it is software."""
    CREDENTIAL_TPM = "credential-tpm"
    CREDENTIAL_HOST = "credential-host"
    HOSTFILE = "hostfile"
    """A file readable by the service's user: protects against other users of this system alone."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A secret only this backend can open again, or a key only it can use: two blobs, and the key it hangs under."""

    public: bytes
    private: bytes
    parent: bytes = b""
    """The parent's TPM name; empty where there is none."""


class NativeKey(NamedTuple):
    """A key inside the TPM, as OpenSSL's provider for it takes it."""

    pem: bytes
    """TSS2 PRIVATE KEY: of use in this TPM alone."""
    password: str
    """What the TPM is shown; of use for this key alone, for the provider shows it in the clear on the bus."""
    public: bytes
    """DER SubjectPublicKeyInfo."""


class Backend(Protocol):
    """Raises KeysUnavailable, KeysReplaced, KeysCorrupt or KeysPolicy (`edged.errors`)."""

    @property
    def protection(self) -> Protection:
        """What it is, found out, not configured."""

    @property
    def device(self) -> bytes:
        """What tells this board or TPM from another (the SRK's name, a board serial's hash)."""

    def authorise(self, secret: bytes) -> None:
        """Show the secret of this enrolment, before keys are made or used and before anything is written.

        16 bytes or more, kept sealed by the caller (not the root secret, which rotates; one beside it). Keys,
        `advance`, `set_record` and `extend` obey to it alone; reading needs none. Ignored where nothing is guarded.
        """

    def forget(self) -> None:
        """Remove the counter, record and anchor of an earlier enrolment, whose secret is gone; before a new one."""

    def seal(self, secret: bytes) -> Sealed:
        """Up to 120 bytes, for this backend alone."""

    def unseal(self, sealed: Sealed) -> bytes:
        """The secret again."""

    def make_identity(self) -> Sealed:
        """A new ECDSA P-256 key that never leaves the backend in the clear."""

    def public_key(self, identity: Sealed) -> bytes:
        """Its public half: DER SubjectPublicKeyInfo."""

    def sign(self, identity: Sealed, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r and s, 32 bytes each, big-endian."""

    def counter(self) -> int:
        """The monotonic commit counter; 0 where there is none and none can be made before `authorise`.

        It may jump upward, and never goes back.
        """

    def advance(self) -> int:
        """Raise the counter by one; its new value. Never repeated by itself after an error: read `counter` first."""

    def record(self) -> bytes:
        """The small record bound to this backend (40 bytes; empty where none was written)."""

    def set_record(self, value: bytes) -> None:
        """Replace it, atomically."""

    def extend(self, digest: bytes) -> bytes:
        """Fold a digest (32 bytes) into the audit anchor; the anchor's new value."""

    def anchor(self) -> bytes:
        """The audit anchor: 32 bytes, zero before the first `extend`."""

    def close(self) -> None:
        """Let go of the device; secrets in memory are forgotten."""
