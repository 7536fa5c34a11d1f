"""The keys' backend that is a TPM (`edged.keys.backend.Backend`)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tpm2_pytss import ESAPI

from edged.errors import KeysPolicy, KeysUnavailable
from edged.keys.attest import Signed
from edged.keys.backend import NativeKey, Protection, Sealed
from edged.keys.tpm import codes, endorsement, objects, quoting, templates
from edged.keys.tpm.device import Device
from edged.keys.tpm.indices import BASE, Anchor, Counter, Record
from edged.keys.tpm.measured import Measured
from edged.keys.tpm.policy import Approval, BootPolicy
from edged.keys.tpm.root import HANDLE, Root
from edged.keys.tpm.sessions import loaded, policy, salted

_AUTH_BYTES: Final = 16
_PURPOSE: Final = b"edged/v1/tpm-auth"
_TLS_PURPOSE: Final = b"edged/v1/tpm-tls-auth"


class TpmBackend:
    """One TPM, opened at its first use. For one thread.

    `pinned` is the storage root key's name at enrolment: with it, a cleared or another TPM is refused. `rule` binds
    what is sealed to an approved state of the machine, or the `recovery` secret, which sealing asks for.
    """

    def __init__(
        self,
        device: Device,
        *,
        pinned: bytes = b"",
        root: int = HANDLE,
        indices: int = BASE,
        vendors: Path | None = None,
        rule: BootPolicy | None = None,
        approvals: Sequence[Approval] = (),
        recovery: bytes = b"",
    ) -> None:
        self._tpm = device
        self._root = Root(pinned, root)
        self._vendors = vendors
        self._counter = Counter(device, self._root, indices)
        self._record = Record(device, self._root, indices + 1)
        self._anchor = Anchor(device, self._root, indices + 2)
        self._generation = Counter(device, self._root, indices + 3)
        self._measured = Measured(rule, approvals, self._generation) if rule else None
        self._recovery = recovery
        self._auth = self._tls_auth = b""
        self._protection: Protection | None = None

    @property
    def protection(self) -> Protection:
        """What kind of TPM it is, asked once."""
        if self._protection is None:
            self._protection = endorsement.protection(self._tpm, self._root, self._vendors)
        return self._protection

    @property
    def device(self) -> bytes:
        """The storage root key's name; the key is made where there is none and none was pinned."""

        def step(esapi: ESAPI) -> bytes:
            with self._root.open(esapi) as root:
                return self._root.name(esapi, root)

        return self._tpm.run(step)

    def authorise(self, secret: bytes) -> None:
        """Show the secret of this enrolment: its keys, counter, record and anchor obey to nothing else.

        The caller keeps it sealed. What the TPM is shown is derived from it: 128 bits as 32 characters, never
        ending in zero (TSS before 4.1 fails on such ones).
        """
        self._auth, self._tls_auth = (_derived(secret, purpose) for purpose in (_PURPOSE, _TLS_PURPOSE))

    def forget(self) -> None:
        """Remove the counter, record and anchor of an earlier enrolment, whose secret is gone; before a new one."""
        for index in (self._counter, self._record, self._anchor, self._generation):
            index.remove()

    def seal(self, secret: bytes) -> Sealed:
        """Up to 120 bytes, bound to the boot policy where there is one.

        Raises KeysPolicy where the machine does not measure its boot.
        """
        data = objects.checked(secret)
        if self._measured is None:
            return objects.make(self._tpm, self._root, templates.sealed(b""), auth=b"", data=data)
        if len(self._recovery) < _AUTH_BYTES:
            raise KeysPolicy(f"a boot policy needs a recovery secret of {_AUTH_BYTES} random bytes or more")
        self._measured.refuse_unmeasured(self._tpm)
        template = templates.sealed(self._measured.rule.digest())
        return objects.make(self._tpm, self._root, template, auth=self._recovery, data=data)

    def unseal(self, sealed: Sealed) -> bytes:
        """The secret again; what is bound to a policy opens in an approved state."""
        if (measured := self._rule_of(sealed)) is None:
            return self._unseal_plain(sealed)

        def step(esapi: ESAPI) -> bytes:
            with (
                self._root.open(esapi, sealed.parent) as root,
                salted(esapi, root, response=True) as bus,
                policy(esapi, root) as session,
                loaded(esapi, root, sealed) as item,
            ):
                measured.satisfy(esapi, session, bus)
                return bytes(esapi.unseal(item, session1=session, session2=bus))

        return objects.unchecked(self._tpm.run(step))

    def recover(self, sealed: Sealed, recovery: bytes) -> bytes:
        """What is bound to a policy, in any state of the machine, by its recovery secret."""
        if (measured := self._rule_of(sealed)) is None:
            return self._unseal_plain(sealed)

        def step(esapi: ESAPI) -> bytes:
            with (
                self._root.open(esapi, sealed.parent) as root,
                salted(esapi, root, response=True) as bus,
                policy(esapi, root) as session,
                loaded(esapi, root, sealed, recovery) as item,
            ):
                measured.recover(esapi, session)
                return bytes(esapi.unseal(item, session1=session, session2=bus))

        try:
            return objects.unchecked(self._tpm.run(step))
        except codes.Unauthorised as exc:
            raise KeysPolicy("this is not the recovery secret") from exc

    def make_identity(self) -> Sealed:
        """A new ECDSA P-256 key: made in the TPM, fixed to it, and used with the secret of this enrolment."""
        return objects.make(self._tpm, self._root, templates.signer(), auth=self._shown())

    def public_key(self, identity: Sealed) -> bytes:
        """Its public half: DER SubjectPublicKeyInfo. Asks no TPM."""
        return objects.public_key(identity)

    def sign(self, identity: Sealed, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r and s, 32 bytes each, big-endian."""
        return objects.sign(self._tpm, self._root, identity, self._shown(), digest)

    def make_tls_key(self) -> Sealed:
        """A key for TLS inside the TPM. Its authorisation is its own: OpenSSL's provider shows it on the bus."""
        self._shown()
        return objects.make(self._tpm, self._root, templates.signer(), auth=self._tls_auth)

    def tls_key(self, key: Sealed) -> NativeKey:
        """A key of `make_tls_key` as OpenSSL takes it."""
        self._shown()
        return NativeKey(
            objects.tss2_pem(key, self._root.handle), self._tls_auth.decode(), self.public_key(key)
        )

    def sign_tls(self, key: Sealed, digest: bytes) -> bytes:
        """As `sign`, by a key of `make_tls_key`: for its certificate request (`edged.keys.devicekey`)."""
        self._shown()
        return objects.sign(self._tpm, self._root, key, self._tls_auth, digest)

    def counter(self) -> int:
        """The commit counter; made where there is none and the secret was shown, above every counter there ever was."""
        return self._counter.value(self._auth)

    def advance(self) -> int:
        """Raise it by one. After an error it may or may not have been: read `counter`."""
        return self._counter.advance(self._shown())

    def record(self) -> bytes:
        """The record of 40 bytes; empty where none was written."""
        return self._record.value()

    def set_record(self, value: bytes) -> None:
        """Replace it in one write; repeated by itself where the line breaks, which changes nothing."""
        self._record.replace(self._shown(), value)

    def extend(self, digest: bytes) -> bytes:
        """Fold a digest into the audit anchor. After an error it may or may not have been: read `anchor`."""
        return self._anchor.extend(self._shown(), digest)

    def anchor(self) -> bytes:
        """The audit anchor: 32 bytes, zero before the first `extend`."""
        return self._anchor.value()

    def make_attestation_key(self) -> Sealed:
        """A key that signs what this TPM states, and nothing from outside."""
        return objects.make(self._tpm, self._root, templates.signer(restricted=True), auth=self._shown())

    def quote(self, key: Sealed, nonce: bytes, pcrs: Sequence[int]) -> tuple[Signed, dict[int, bytes]]:
        """The registers' values, and the TPM's word for them. Raises KeysPolicy where there is no such register."""
        return quoting.quote(self._tpm, self._root, key, self._shown(), nonce, pcrs)

    def certify_anchor(self, key: Sealed, nonce: bytes) -> Signed:
        """The TPM's word for the audit anchor; KeysUnavailable before the first `extend`."""
        return quoting.certify_anchor(self._tpm, self._root, key, self._shown(), nonce, self._anchor)

    def generation(self) -> int:
        """Which approvals are good: those of this generation and later ones."""
        return self._generation.value(self._auth)

    def revoke(self) -> int:
        """Make every approval of the current generation void; the new generation."""
        return self._generation.advance(self._shown())

    def close(self) -> None:
        """Let go of the TPM and forget what was shown to it."""
        self._auth = self._tls_auth = self._recovery = b""
        self._tpm.close()

    def _rule_of(self, sealed: Sealed) -> Measured | None:
        """What a secret is bound to; None where to nothing."""
        if not (bound := objects.policy_of(sealed)):
            return None
        if self._measured is None or bound != self._measured.rule.digest():
            raise KeysPolicy(
                "a secret is bound to another boot policy than the one that is set: set the one it had"
            )
        return self._measured

    def _unseal_plain(self, sealed: Sealed) -> bytes:
        def step(esapi: ESAPI) -> bytes:
            with (
                self._root.open(esapi, sealed.parent) as root,
                salted(esapi, root, response=True) as bus,
                loaded(esapi, root, sealed) as item,
            ):
                return bytes(esapi.unseal(item, session1=bus))

        return objects.unchecked(self._tpm.run(step))

    def _shown(self) -> bytes:
        if not self._auth:
            raise KeysUnavailable("the secret of this enrolment was not shown yet: open the keystore first")
        return self._auth


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, "sha256")[:_AUTH_BYTES].hex().encode()
