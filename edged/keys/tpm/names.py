"""What a TPM calls keys and indices: the hash of their public area. Needs no TPM (part 1, 16; part 2, 12.2.4, 13.6)."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edged.errors import Rejected

COORDINATE_BYTES: Final = 32

_SHA256: Final = 0x000B
_NULL: Final = 0x0010
_ECC: Final = 0x0023
_P256: Final = 0x0003
_SIGNS: Final = 0x00040040
"""TPMA_OBJECT of a public key loaded from outside: USERWITHAUTH, SIGN_ENCRYPT."""

_NV_WRITTEN: Final = 1 << 29
_NV_TYPE_SHIFT: Final = 4
NV_ATTRIBUTES: Final = 1 << 2 | 1 << 17 | 1 << 18 | 1 << 25
"""TPMA_NV of our indices: AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA."""
NV_COUNTER: Final = 1
NV_EXTEND: Final = 4


def p256(der: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a DER SubjectPublicKeyInfo; raises Rejected for anything but ECDSA P-256."""
    try:
        key = load_der_public_key(der)
    except ValueError as exc:
        raise Rejected("not a public key") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Rejected("not an ECDSA P-256 public key")
    return key


def external_key(der: bytes) -> bytes:
    """The name of a P-256 verifying key as it is loaded into a TPM."""
    numbers = p256(der).public_numbers()
    area = struct.pack(">HHIHHHHH", _ECC, _SHA256, _SIGNS, 0, _NULL, _NULL, _P256, _NULL)
    for coordinate in (numbers.x, numbers.y):
        area += struct.pack(">H", COORDINATE_BYTES) + coordinate.to_bytes(COORDINATE_BYTES, "big")
    return _name(area)


def index(handle: int, kind: int, size: int, *, written: bool = True) -> bytes:
    """The name of one of our NV indices; it changes with the first write."""
    attributes = NV_ATTRIBUTES | kind << _NV_TYPE_SHIFT | (_NV_WRITTEN if written else 0)
    return _name(struct.pack(">IHIHH", handle, _SHA256, attributes, 0, size))


def _name(area: bytes) -> bytes:
    return struct.pack(">H", _SHA256) + hashlib.sha256(area).digest()
