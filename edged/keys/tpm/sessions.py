"""Sessions and loaded keys that are flushed when their block ends, whatever happened in it.

What protects the bus (a salted session that encrypts) and what satisfies a policy are two sessions: one policy session
doing both encrypts with a key made of the object's authorisation, and an unseal without it gives garbage, not an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_SE,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPMA_SESSION,
    TPMT_SYM_DEF,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
    TSS2_Exception,
)

from edged.errors import KeysCorrupt
from edged.keys.backend import Sealed
from edged.keys.tpm import codes

_AES: Final = {"keyBits": TPMU_SYM_KEY_BITS(aes=128), "mode": TPMU_SYM_MODE(aes=TPM2_ALG.CFB)}


@contextlib.contextmanager
def salted(
    esapi: ESAPI, root: ESYS_TR, *, command: bool = False, response: bool = False
) -> Iterator[ESYS_TR]:
    """A session whose secret only the storage root key can read; it proves authorisations without showing them.

    `command` encrypts the first parameter of what is sent, `response` that of what comes back.
    """
    aes = TPMT_SYM_DEF(algorithm=TPM2_ALG.AES, **_AES)
    session = esapi.start_auth_session(root, ESYS_TR.NONE, TPM2_SE.HMAC, aes, TPM2_ALG.SHA256)
    with flushed(esapi, session):
        attributes = TPMA_SESSION.CONTINUESESSION
        attributes |= TPMA_SESSION.DECRYPT if command else 0
        attributes |= TPMA_SESSION.ENCRYPT if response else 0
        esapi.trsess_set_attributes(session, attributes)
        yield session


@contextlib.contextmanager
def policy(esapi: ESAPI, root: ESYS_TR) -> Iterator[ESYS_TR]:
    """A salted session that collects a policy and encrypts nothing."""
    plain = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
    session = esapi.start_auth_session(root, ESYS_TR.NONE, TPM2_SE.POLICY, plain, TPM2_ALG.SHA256)
    with flushed(esapi, session):
        esapi.trsess_set_attributes(session, TPMA_SESSION.CONTINUESESSION)
        yield session


@contextlib.contextmanager
def loaded(esapi: ESAPI, root: ESYS_TR, sealed: Sealed, auth: bytes = b"") -> Iterator[ESYS_TR]:
    """The object of a blob, in the TPM. Raises KeysCorrupt where it is not even a blob."""
    public, private = parse(TPM2B_PUBLIC, sealed.public), parse(TPM2B_PRIVATE, sealed.private)
    handle = esapi.load(root, private, public)
    with flushed(esapi, handle):
        esapi.tr_set_auth(handle, auth)
        yield handle


@contextlib.contextmanager
def flushed(esapi: ESAPI, handle: ESYS_TR) -> Iterator[ESYS_TR]:
    """Flush it at the end; a line that broke meanwhile has lost it anyway."""
    try:
        yield handle
    finally:
        with contextlib.suppress(TSS2_Exception):
            esapi.flush_context(handle)


def find(esapi: ESAPI, handle: int) -> ESYS_TR | None:
    """What stays in the TPM at `handle`, for `closed`; None where there is nothing."""
    try:
        return esapi.tr_from_tpmpublic(handle)
    except TSS2_Exception as exc:
        if codes.from_tpm(exc.rc) and codes.base(exc.rc) == codes.NO_HANDLE:
            return None
        raise


@contextlib.contextmanager
def closed(esapi: ESAPI, known: ESYS_TR) -> Iterator[ESYS_TR]:
    """What stays in the TPM; the TSS forgets it at the end."""
    try:
        yield known
    finally:
        with contextlib.suppress(TSS2_Exception):
            esapi.tr_close(known)


def parse(kind: type, data: bytes) -> TPM2B_PUBLIC | TPM2B_PRIVATE:
    """A TPM structure from all of `data`; raises KeysCorrupt."""
    try:
        value, size = kind.unmarshal(data)  # type: ignore[attr-defined]  # every TPM structure has it
    except (TSS2_Exception, ValueError, TypeError) as exc:
        raise KeysCorrupt("a key blob is cut short or damaged: restore the keystore from a copy") from exc
    if size != len(data):
        raise KeysCorrupt("a key blob is followed by other bytes: restore the keystore from a copy")
    return value
