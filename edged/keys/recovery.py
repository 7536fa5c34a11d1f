"""A secret wrapped for an offline key: ECIES on P-256, so that a dead TPM does not take the data with it.

The wrapping key is HKDF-SHA256 of the shared point, salted with both public keys; the content is a COSE_Encrypt0.
"""

from __future__ import annotations

import hashlib
import os

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from edged.errors import KeysCorrupt, Rejected
from edged.keys import cose

PURPOSE = "recovery"


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """Opens with the private half of the key that `kid` names."""

    kid: bytes
    ephemeral: bytes
    """The sender's public key of this one wrapping: a compressed point."""
    content: bytes
    """COSE_Encrypt0."""


def kid(public: ec.EllipticCurvePublicKey) -> bytes:
    """Names a key: the first 8 bytes of the SHA-256 of its compressed point."""
    return hashlib.sha256(_point(public)).digest()[:8]


def fingerprint(public: ec.EllipticCurvePublicKey) -> str:
    """What an operator compares: SHA-256 of the DER SubjectPublicKeyInfo, in groups of four."""
    return grouped(hashlib.sha256(spki(public)).hexdigest())


def grouped(text: str) -> str:
    """Hexadecimal for people: groups of four."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def spki(public: ec.EllipticCurvePublicKey) -> bytes:
    """DER SubjectPublicKeyInfo."""
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem(public: ec.EllipticCurvePublicKey) -> str:
    """For files that people hand on."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def wrap(secret: bytes, public: ec.EllipticCurvePublicKey) -> Wrapped:
    """Wrap any secret; a new key pair each time, so its nonce is never used twice under one key."""
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    point, name = _point(ephemeral.public_key()), kid(public)
    key = _key(ephemeral.exchange(ec.ECDH(), public), point + _point(public))
    content = cose.encrypt0(key, os.urandom(cose.NONCE_BYTES), secret, kid=name, purpose=PURPOSE)
    return Wrapped(kid=name, ephemeral=point, content=content)


def unwrap(wrapped: Wrapped, private: ec.EllipticCurvePrivateKey) -> bytes:
    """The secret again; Rejected for another key than it was wrapped for, KeysCorrupt where it is damaged."""
    public = private.public_key()
    if wrapped.kid != kid(public):
        raise Rejected(
            f"this is recovery key {kid(public).hex()}, the keys are wrapped for {wrapped.kid.hex()}"
        )
    try:
        ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), wrapped.ephemeral)
        key = _key(private.exchange(ec.ECDH(), ephemeral), wrapped.ephemeral + _point(public))
        return cose.decrypt0(key, wrapped.content, kid=wrapped.kid, purpose=PURPOSE)
    except (ValueError, Rejected) as exc:
        raise KeysCorrupt(f"the recovery copy of the keys is damaged ({exc})") from exc


def load_public(pem: bytes) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from PEM; Rejected for anything else, a private key included."""
    try:
        key = load_pem_public_key(pem)
    except ValueError as exc:
        raise Rejected("not a PEM public key (the private half must never come here)") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Rejected("not a P-256 key: make one with openssl ecparam -name prime256v1 -genkey -noout")
    return key


def load_spki(der: bytes) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from DER SubjectPublicKeyInfo; KeysCorrupt for anything else."""
    try:
        key = load_der_public_key(der)
    except ValueError as exc:
        raise KeysCorrupt("a public key is damaged") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeysCorrupt("a public key is not a P-256 key")
    return key


def load_private(pem: bytes, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from PEM; Rejected for anything else."""
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError) as exc:
        raise Rejected(f"the recovery key does not open: {exc}") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Rejected("the recovery key is not a P-256 key")
    return key


def _key(shared: bytes, points: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, points, b"edged/v1/recovery").derive(shared)


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
