"""What is made under the storage root key and kept outside as blobs: sealed secrets and keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_RH,
    TPM2_ST,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_TK_HASHCHECK,
)
from tpm2_pytss.tsskey import TSSPrivKey

from edged.errors import KeysCorrupt, KeysReplaced
from edged.keys.backend import Sealed
from edged.keys.tpm import codes
from edged.keys.tpm.device import Device
from edged.keys.tpm.names import COORDINATE_BYTES
from edged.keys.tpm.root import Root
from edged.keys.tpm.sessions import loaded, parse, salted

T = TypeVar("T")

SECRET_BYTES: Final = 120
"""The longest secret: a TPM seals 128 bytes, and eight of them check the rest."""
_CHECK_BYTES: Final = 8


def make(device: Device, root: Root, template: TPM2B_PUBLIC, *, auth: bytes, data: bytes = b"") -> Sealed:
    """A new object; its secrets cross the bus encrypted."""
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=auth, data=data))

    def step(esapi: ESAPI) -> Sealed:
        with root.open(esapi) as parent, salted(esapi, parent, command=True, response=True) as session:
            private, public, *_ = esapi.create(parent, sensitive, template, session1=session)
            return Sealed(public=public.marshal(), private=private.marshal(), parent=root.name(esapi, parent))

    return device.run(step)


def use(
    device: Device, root: Root, key: Sealed, auth: bytes, use: Callable[[ESAPI, ESYS_TR, ESYS_TR], T]
) -> T:
    """What `use` gives, called with the context, the loaded key and a session that may use it."""

    def step(esapi: ESAPI) -> T:
        with (
            root.open(esapi, key.parent) as parent,
            salted(esapi, parent) as session,
            loaded(esapi, parent, key, auth) as handle,
        ):
            return use(esapi, handle, session)

    try:
        return device.run(step)
    except codes.Unauthorised as exc:
        raise KeysReplaced("a key of this TPM belongs to another enrolment: enrol this device again") from exc


def sign(device: Device, root: Root, key: Sealed, auth: bytes, digest: bytes) -> bytes:
    """ECDSA over a SHA-256 digest: r and s, 32 bytes each, big-endian."""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("the digest is not one of SHA-256")
    scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
    ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)

    def step(esapi: ESAPI, handle: ESYS_TR, session: ESYS_TR) -> TPMT_SIGNATURE:
        return esapi.sign(handle, digest, scheme, ticket, session1=session)

    return flat(use(device, root, key, auth, step))


def flat(signature: TPMT_SIGNATURE) -> bytes:
    """An ECDSA signature as r and s; some TPMs leave out leading zeros."""
    ecdsa = signature.signature.ecdsa
    return b"".join(
        bytes(part).rjust(COORDINATE_BYTES, b"\0") for part in (ecdsa.signatureR, ecdsa.signatureS)
    )


def public_key(key: Sealed) -> bytes:
    """DER SubjectPublicKeyInfo; asks no TPM. Raises KeysCorrupt."""
    public = parse(TPM2B_PUBLIC, key.public)
    if public.publicArea.type != TPM2_ALG.ECC:
        raise KeysCorrupt("a blob that should be a key is none: restore the keystore from a copy")
    return bytes(public.to_der())


def tss2_pem(key: Sealed, parent: int) -> bytes:
    """A key as a file of OpenSSL's provider; of use in this TPM alone."""
    private, public = parse(TPM2B_PRIVATE, key.private), parse(TPM2B_PUBLIC, key.public)
    return bytes(TSSPrivKey(private, public, empty_auth=False, parent=parent).to_pem())


def policy_of(sealed: Sealed) -> bytes:
    """What a sealed secret is bound to; empty where to nothing."""
    return bytes(parse(TPM2B_PUBLIC, sealed.public).publicArea.authPolicy)


def checked(secret: bytes) -> bytes:
    """A secret with what tells it from garbage."""
    if not 0 < len(secret) <= SECRET_BYTES:
        raise ValueError(f"a secret is 1 to {SECRET_BYTES} bytes, not {len(secret)}")
    return _check(secret) + secret


def unchecked(data: bytes) -> bytes:
    """The secret again; raises KeysCorrupt where it is not what was sealed."""
    check, secret = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
    if _check(secret) != check:
        raise KeysCorrupt("the TPM gave other bytes than were sealed: restore the keystore from a copy")
    return secret


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(b"edged/v1/sealed" + secret).digest()[:_CHECK_BYTES]
