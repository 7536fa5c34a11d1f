"""A backend without a TPM: secrets wrapped with a key that somebody else keeps, and a ledger in a file.

What it cannot do, a TPM can: its counter, record and anchor lie on the same disk as everything they vouch for, so
whoever writes an older image of the whole disk back is not noticed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cbor2
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from edged.errors import KeysCorrupt, NotFound
from edged.files import atomic_write, read_capped
from edged.keys.backend import Protection, Sealed
from edged.keys.secret import Secret

LEDGER_MAX_BYTES = 4096
SEAL_MAX_BYTES = 120
_NONCE_BYTES = 12


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What a TPM keeps in its non-volatile memory."""

    counter: int = 0
    record: bytes = b""
    anchor: bytes = bytes(32)


class SoftwareBackend:
    """Implements `edged.keys.backend.Backend` on a wrapping key and a file."""

    def __init__(self, wrapping: Secret, ledger: Path, device: bytes, protection: Protection) -> None:
        self._seals = wrapping.derive("seal", 1)
        self._signs = wrapping.derive("identity", 1)
        self._path = ledger
        self._device = device
        self._protection = protection

    @property
    def protection(self) -> Protection:
        """Who keeps the wrapping key."""
        return self._protection

    @property
    def device(self) -> bytes:
        """The board's mark (`edged.keys.board`)."""
        return self._device

    def authorise(self, secret: bytes) -> None:
        """Nothing is guarded here: the files' permissions have to do."""

    def forget(self) -> None:
        """Drop the record and the anchor; the counter goes on."""
        self._keep(Ledger(counter=self._ledger().counter))

    def seal(self, secret: bytes) -> Sealed:
        """Wrap up to 120 bytes."""
        if len(secret) > SEAL_MAX_BYTES:
            raise ValueError(f"sealing takes at most {SEAL_MAX_BYTES} bytes, not {len(secret)}")
        return Sealed(public=b"", private=_wrap(self._seals, secret, b"seal"))

    def unseal(self, sealed: Sealed) -> bytes:
        """Unwrap them."""
        return _unwrap(self._seals, sealed.private, b"seal")

    def make_identity(self) -> Sealed:
        """A new key, wrapped; its public half in the clear."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return Sealed(public=public, private=_wrap(self._signs, private, public))

    def public_key(self, identity: Sealed) -> bytes:
        """DER SubjectPublicKeyInfo; that it belongs to the private half is checked when that signs."""
        return identity.public

    def sign(self, identity: Sealed, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest, r and s."""
        key = load_der_private_key(_unwrap(self._signs, identity.private, identity.public), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeysCorrupt("the identity key is not an elliptic-curve key")
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def counter(self) -> int:
        """How many commits there were."""
        return self._ledger().counter

    def advance(self) -> int:
        """Count one more."""
        ledger = self._ledger()
        self._keep(msgspec.structs.replace(ledger, counter=ledger.counter + 1))
        return ledger.counter + 1

    def record(self) -> bytes:
        """What `set_record` wrote last."""
        return self._ledger().record

    def set_record(self, value: bytes) -> None:
        """Replace it on the disk."""
        self._keep(msgspec.structs.replace(self._ledger(), record=value))

    def extend(self, digest: bytes) -> bytes:
        """As TPM2_NV_Extend: the new anchor is SHA-256 of the old one and the digest."""
        ledger = self._ledger()
        anchor = hashlib.sha256(ledger.anchor + digest).digest()
        self._keep(msgspec.structs.replace(ledger, anchor=anchor))
        return anchor

    def anchor(self) -> bytes:
        """The audit anchor."""
        return self._ledger().anchor

    def close(self) -> None:
        """Forget the wrapping keys."""
        self._seals.wipe()
        self._signs.wipe()

    def _ledger(self) -> Ledger:
        try:
            return msgspec.convert(
                cbor2.loads(read_capped(self._path, LEDGER_MAX_BYTES)), Ledger, builtin_types=(bytes,)
            )
        except NotFound:
            return Ledger()
        except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
            raise KeysCorrupt(
                f"{self._path} is damaged: restore it from a backup, or recover the keys"
            ) from exc

    def _keep(self, ledger: Ledger) -> None:
        atomic_write(self._path, cbor2.dumps(msgspec.structs.asdict(ledger), canonical=True))


def _wrap(key: Secret, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key.reveal()).encrypt(nonce, plain, context)


def _unwrap(key: Secret, blob: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key.reveal()).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as exc:
        raise KeysCorrupt(
            "a key does not open with this device's wrapping key: one of the two is damaged"
        ) from exc
