"""Whom this device believes, and as whom it speaks. Pure.

The trust anchors are public; what matters is that nobody changes them, so the enrolment is an object of a commit.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import cbor2
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from edged import cborwalk
from edged.errors import KeysCorrupt, NotEnrolled, Rejected
from edged.keys import cose, recovery
from edged.keys.cose import Signed

NAME: Final = "enrolment"
"""The object that a commit pins."""

ANCHORS: Final = "anchors"
"""The purpose of a message that replaces the trust anchors."""

DeviceName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
TlsKind = Literal["tpm-native", "tpm-sealed", "file"]


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the fleet."""

    kid: bytes
    spki: bytes
    """DER SubjectPublicKeyInfo of a P-256 key."""


class TlsKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key of the device's certificate: never the identity's."""

    kind: TlsKind
    spki: bytes
    private: bytes
    """tpm-sealed: PKCS8, sealed by the vault; file: PKCS8 as it is; tpm-native: what the TPM loads."""
    certificate: bytes = b""
    """PEM, with its intermediates; empty while it is awaited."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What `edged enrol` has established."""

    version: int = 1
    device: DeviceName
    anchors: tuple[Anchor, ...]
    anchors_version: int = 1
    broker_ca: bytes
    """PEM: whom the broker's certificate must come from."""
    device_ca: bytes
    """PEM: whom this device's certificate must come from."""
    tls: TlsKey | None = None
    pending: TlsKey | None = None
    """Made, and its certificate awaited: the first time, or for a renewal."""
    begun_s: int
    enrolled_s: int | None = None
    """When the first certificate came; None until then."""


def encode(enrolment: Enrolment) -> bytes:
    """Deterministic CBOR."""
    return cbor2.dumps(msgspec.to_builtins(enrolment, builtin_types=(bytes,)), canonical=True)


def decode(data: bytes) -> Enrolment:
    """The other way; KeysCorrupt for anything else."""
    try:
        return msgspec.convert(cbor2.loads(data), Enrolment, builtin_types=(bytes,))
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
        raise KeysCorrupt(f"the enrolment is damaged: {exc}") from exc


def believed(enrolment: Enrolment | None, message: bytes, purpose: str) -> Signed:
    """What the fleet signed for a purpose; before anything else is done with it.

    Raises NotEnrolled while nobody is trusted, Rejected for every other signature than one of the fleet's.
    """
    if enrolment is None or enrolment.enrolled_s is None:
        raise NotEnrolled("this device is not enrolled yet, so it believes nobody: edged enrol")
    kid = cose.signer_of(message)
    for anchor in enrolment.anchors:
        if anchor.kid == kid:
            return cose.verify1(anchor.spki, message, purpose=purpose)
    known = ", ".join(anchor.kid.hex() for anchor in enrolment.anchors)
    raise Rejected(f"signed by key {kid.hex()}, which is none of the fleet's: {known}")


def with_anchors(enrolment: Enrolment, message: bytes) -> Enrolment:
    """The enrolment with other trust anchors, by a message that one of the present ones signed.

    Its payload is CBOR: `[version, [SubjectPublicKeyInfo, ...]]`, of a higher version. Raises Rejected.
    """
    content = cborwalk.decode(believed(enrolment, message, ANCHORS).payload)
    try:
        version, keys = msgspec.convert(content, tuple[int, list[bytes]], builtin_types=(bytes,))
    except msgspec.ValidationError as exc:
        raise Rejected(f"not a list of trust anchors: {exc}") from exc
    if version <= enrolment.anchors_version:
        raise Rejected(
            f"trust anchors of version {version}: version {enrolment.anchors_version} is in force already"
        )
    anchors = tuple(anchor(_spki(key)) for key in keys)
    if not anchors:
        raise Rejected("a list of no trust anchors: nobody could ever replace it")
    return msgspec.structs.replace(enrolment, anchors=anchors, anchors_version=version)


def anchor(public: ec.EllipticCurvePublicKey) -> Anchor:
    """A key of the fleet, named as COSE messages name it."""
    spki = recovery.spki(public)
    return Anchor(kid=cose.key_id(spki), spki=spki)


def load_anchor(data: bytes) -> Anchor:
    """A trust anchor from a file: PEM, or a COSE_Key (RFC 9052, 7; RFC 9053, 7.1) of an EC2 P-256 key."""
    if data.lstrip().startswith(b"-----"):
        return anchor(recovery.load_public(data))
    match cborwalk.decode(data):
        case {1: 2, -1: 1, -2: bytes(x), -3: bytes(y)} if len(x) == len(y) == 32:
            try:
                return anchor(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y))
            except ValueError as exc:
                raise Rejected("a COSE_Key that is no point of P-256") from exc
    raise Rejected("neither a PEM public key nor a COSE_Key of a P-256 key")


def _spki(der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return recovery.load_spki(der)
    except KeysCorrupt as exc:
        raise Rejected("a trust anchor that is no P-256 key") from exc
