"""The public areas of what is made in the TPM. Every object and index is exempt from the lockout counter (NODA).

Without it three power cuts at the wrong moment lock the TPM, whatever the passwords. What NODA asks for in return is
that no authorisation can be guessed: each is 128 random bits or more.
"""

from __future__ import annotations

from typing import Final

from tpm2_pytss import (
    TPM2_ALG,
    TPM2_ECC,
    TPM2_NT,
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPMA_NV,
    TPMA_OBJECT,
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SYM_DEF_OBJECT,
    TPMU_ASYM_SCHEME,
    TPMU_PUBLIC_PARMS,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
)

_BOUND: Final = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT
_KEY: Final = _BOUND | TPMA_OBJECT.SENSITIVEDATAORIGIN | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.NODA

STORAGE: Final = _KEY | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
"""What the storage root key must be: 0x30472, as systemd makes it."""

INDEX: Final = TPMA_NV.AUTHWRITE | TPMA_NV.AUTHREAD | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA
"""Our indices: written with the secret of this enrolment alone, read with it or as owner; never orderly."""


def _ecc(attributes: TPMA_OBJECT, symmetric: TPMT_SYM_DEF_OBJECT, scheme: TPMT_ECC_SCHEME) -> TPM2B_PUBLIC:
    details = TPMS_ECC_PARMS(
        symmetric=symmetric,
        scheme=scheme,
        curveID=TPM2_ECC.NIST_P256,
        kdf=TPMT_KDF_SCHEME(scheme=TPM2_ALG.NULL),
    )
    return TPM2B_PUBLIC(
        TPMT_PUBLIC(
            type=TPM2_ALG.ECC,
            nameAlg=TPM2_ALG.SHA256,
            objectAttributes=attributes,
            parameters=TPMU_PUBLIC_PARMS(eccDetail=details),
        )
    )


def storage_root() -> TPM2B_PUBLIC:
    """The ECC P-256 storage root key that systemd makes too: `unique` is empty (zeros would give another key)."""
    aes = TPMT_SYM_DEF_OBJECT(
        algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)
    )
    return _ecc(STORAGE, aes, TPMT_ECC_SCHEME(scheme=TPM2_ALG.NULL))


def signer(*, restricted: bool = False) -> TPM2B_PUBLIC:
    """An ECDSA P-256 key; a restricted one signs only what the TPM itself states."""
    attributes = _KEY | TPMA_OBJECT.SIGN_ENCRYPT | (TPMA_OBJECT.RESTRICTED if restricted else 0)
    ecdsa = TPMU_ASYM_SCHEME(ecdsa=TPMS_SCHEME_HASH(hashAlg=TPM2_ALG.SHA256))
    scheme = TPMT_ECC_SCHEME(scheme=TPM2_ALG.ECDSA, details=ecdsa)
    return _ecc(attributes, TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL), scheme)


def sealed(policy: bytes) -> TPM2B_PUBLIC:
    """Data; with a policy, it opens to nothing else."""
    attributes = _BOUND | TPMA_OBJECT.NODA | (0 if policy else TPMA_OBJECT.USERWITHAUTH)
    plain = TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM2_ALG.NULL))
    return TPM2B_PUBLIC(
        TPMT_PUBLIC(
            type=TPM2_ALG.KEYEDHASH,
            nameAlg=TPM2_ALG.SHA256,
            objectAttributes=attributes,
            authPolicy=policy,
            parameters=TPMU_PUBLIC_PARMS(keyedHashDetail=plain),
        )
    )


def index(handle: int, kind: TPM2_NT, size: int) -> TPM2B_NV_PUBLIC:
    """One of our NV indices."""
    attributes = INDEX | (kind << TPMA_NV.TPM2_NT_SHIFT)
    return TPM2B_NV_PUBLIC(
        TPMS_NV_PUBLIC(nvIndex=handle, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=size)
    )
