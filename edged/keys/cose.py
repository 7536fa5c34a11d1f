"""COSE_Sign1 and COSE_Encrypt0 (RFC 9052), as narrow as they can be. Pure.

One algorithm each, ES256 and A256GCM, that the key decides and the header only repeats. The purpose is in external_aad,
so that what was signed for one purpose is worthless for any other. Headers hold the algorithm, the key's name, a
content type and, for encryption, the nonce; anything else is refused. Always tagged, never detached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cbor2
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edged import cborwalk
from edged.errors import Rejected

MESSAGE_MAX_BYTES: Final = 1 << 20
NONCE_BYTES: Final = 12

# IANA, COSE header parameters and algorithms
_ALG, _CONTENT_TYPE, _KID, _IV = 1, 3, 4, 5
_ES256, _A256GCM = -7, 3
_SIGN1_TAG, _ENCRYPT0_TAG = 18, 16
_TAG = 0xC0  # RFC 8949, 3.1: major type 6


class Signed(NamedTuple):
    """A message whose signature was right."""

    kid: bytes
    content_type: str | None
    payload: bytes


def key_id(spki: bytes) -> bytes:
    """Names a public key: the first 8 bytes of the SHA-256 of its DER SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).digest()[:8]


def aad(purpose: str) -> bytes:
    """What binds a message to its purpose."""
    return f"edged/v1/{purpose}".encode()


def sign1(
    sign: Callable[[bytes], bytes],
    payload: bytes,
    *,
    kid: bytes,
    purpose: str,
    content_type: str | None = None,
) -> bytes:
    """A COSE_Sign1 message; `sign` gives r and s (64 bytes) of a SHA-256 digest."""
    header: dict[int, object] = {_ALG: _ES256, _KID: kid}
    if content_type is not None:
        header[_CONTENT_TYPE] = content_type
    protected = cbor2.dumps(header, canonical=True)
    signature = sign(_digest(protected, payload, purpose))
    return cbor2.dumps(cbor2.CBORTag(_SIGN1_TAG, [protected, {}, payload, signature]))


def signer_of(message: bytes) -> bytes:
    """The `kid` of a message, to choose the key to verify it with; nothing is believed yet. Raises Rejected."""
    return _kid(_protected(_parts(message, _SIGN1_TAG, 4)[0], _ES256))


def verify1(spki: bytes, message: bytes, *, purpose: str) -> Signed:
    """What this key signed for this purpose; Rejected for everything else."""
    protected, unprotected, payload, signature = _parts(message, _SIGN1_TAG, 4)
    header = _protected(protected, _ES256)
    if unprotected != {} or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise Rejected("COSE_Sign1: unprotected headers or a detached payload, which are never used here")
    if _kid(header) != key_id(spki):
        raise Rejected(f"COSE_Sign1: signed by key {_kid(header).hex()}, not by {key_id(spki).hex()}")
    if len(signature) != 64 or not _verified(spki, signature, _digest(protected, payload, purpose)):
        raise Rejected(f"COSE_Sign1: the signature is not by key {key_id(spki).hex()} for {purpose}")
    return Signed(_kid(header), header.get(_CONTENT_TYPE), payload)


def encrypt0(key: bytes, nonce: bytes, plain: bytes, *, kid: bytes, purpose: str) -> bytes:
    """A COSE_Encrypt0 message under a 32-byte key; the caller never gives a nonce twice with one key."""
    protected = cbor2.dumps({_ALG: _A256GCM, _KID: kid}, canonical=True)
    sealed = AESGCM(key).encrypt(nonce, plain, _encrypt_structure(protected, purpose))
    return cbor2.dumps(cbor2.CBORTag(_ENCRYPT0_TAG, [protected, {_IV: nonce}, sealed]))


def decrypt0(key: bytes, message: bytes, *, kid: bytes, purpose: str) -> bytes:
    """What was encrypted with this key for this purpose; Rejected for everything else."""
    protected, unprotected, sealed = _parts(message, _ENCRYPT0_TAG, 3)
    if _kid(_protected(protected, _A256GCM)) != kid:
        raise Rejected("COSE_Encrypt0: for another key")
    nonce = unprotected.get(_IV) if isinstance(unprotected, dict) and set(unprotected) == {_IV} else None
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES or not isinstance(sealed, bytes):
        raise Rejected("COSE_Encrypt0: without its nonce, or with more than it")
    try:
        return AESGCM(key).decrypt(nonce, sealed, _encrypt_structure(protected, purpose))
    except InvalidTag as exc:
        raise Rejected("COSE_Encrypt0: damaged, or for another purpose") from exc


def _parts(message: bytes, tag: int, count: int) -> list[Any]:
    if len(message) > MESSAGE_MAX_BYTES:
        raise Rejected(f"COSE: {len(message)} bytes, over the {MESSAGE_MAX_BYTES} allowed")
    if message[:1] != bytes([_TAG | tag]):
        raise Rejected(f"COSE: without its tag, {tag}")
    parts = cborwalk.decode(message[1:])
    if not isinstance(parts, list) or len(parts) != count:
        raise Rejected(f"COSE: not an array of {count}")
    return parts


def _protected(raw: object, algorithm: int) -> dict[int, Any]:
    if not isinstance(raw, bytes):
        raise Rejected("COSE: the protected header is not a byte string")
    header = cborwalk.decode(raw)
    if not isinstance(header, dict) or not {_ALG, _KID} <= set(header) <= {_ALG, _KID, _CONTENT_TYPE}:
        raise Rejected("COSE: the protected header holds more or less than algorithm, key and content type")
    if header[_ALG] != algorithm or type(header[_ALG]) is not int:
        raise Rejected(f"COSE: algorithm {header[_ALG]!r}, where the key is for {algorithm}")
    if not isinstance(header.get(_CONTENT_TYPE, ""), str):
        raise Rejected("COSE: the content type is not text")
    return header


def _kid(header: dict[int, Any]) -> bytes:
    kid = header[_KID]
    if not isinstance(kid, bytes):
        raise Rejected("COSE: the key's name is not a byte string")
    return kid


def _digest(protected: bytes, payload: bytes, purpose: str) -> bytes:
    """SHA-256 of the Sig_structure (RFC 9052, 4.4)."""
    return hashlib.sha256(cbor2.dumps(["Signature1", protected, aad(purpose), payload])).digest()


def _encrypt_structure(protected: bytes, purpose: str) -> bytes:
    """The Enc_structure (RFC 9052, 5.3)."""
    return cbor2.dumps(["Encrypt0", protected, aad(purpose)])


def _verified(spki: bytes, signature: bytes, digest: bytes) -> bool:
    key = load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Rejected("not a P-256 key, so not one for ES256")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True
