"""What kind of TPM this is: hardware its vendor vouches for, one that admits to be software, or one nobody knows."""

from __future__ import annotations

import hmac
import logging
import secrets
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_CAP,
    TPM2_PT,
    TPM2B_PUBLIC,
    TPMA_OBJECT,
    TSS2_Exception,
)
from tpm2_pytss.utils import NVReadEK, create_ek_template, make_credential

from edged.errors import EdgedError
from edged.keys.backend import Protection
from edged.keys.tpm import vendors
from edged.keys.tpm.device import Device
from edged.keys.tpm.root import Root
from edged.keys.tpm.sessions import flushed, policy

LOG = logging.getLogger(__name__)

_KINDS: Final = ("EK-ECC256", "EK-RSA2048")
"""The certificates at 0x01c0000a and 0x01c00002 (TCG EK Credential Profile, 2.2.1.4)."""
_ENDORSEMENT: Final = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
_SECRET_BYTES: Final = 16


def protection(device: Device, root: Root, folder: Path | None) -> Protection:
    """What protects the keys; `folder` holds the certificates of the vendors to believe."""
    if device.run(_admits_software):
        return Protection.TPM_SW
    try:
        trusted = vendors.known(folder) if folder else []
    except (EdgedError, ValueError, OSError) as exc:
        LOG.warning("vendors' certificates cannot be read folder=%s error=%s", folder, exc)
        return Protection.TPM
    if trusted and _is_hardware(device, root, trusted):
        return Protection.TPM_HW
    return Protection.TPM


def _admits_software(esapi: ESAPI) -> bool:
    """Whether it says so: libtpms, which swtpm runs on, names IBM as its maker and "SW   TPM" as itself."""
    _, found = esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.MANUFACTURER, 5)  # kept, as `handles`
    maker, *itself = (int(one.value).to_bytes(4, "big") for one in found.data.tpmProperties)
    return maker.rstrip(b"\0 ") == b"IBM" or b"".join(itself).startswith(b"SW")


def _is_hardware(device: Device, root: Root, trusted: list[x509.Certificate]) -> bool:
    return any(device.run(partial(_is_endorsed, root, trusted, kind)) for kind in _KINDS)


def _is_endorsed(root: Root, trusted: list[x509.Certificate], kind: str, esapi: ESAPI) -> bool:
    """Whether this TPM has an endorsement certificate of a vendor, and the private key it is about."""
    try:
        found, template = create_ek_template(kind, NVReadEK(esapi))
        if not found or not vendors.vouched(certificate := vendors.endorsement(found), trusted):
            return False
        with root.open(esapi) as known, flushed(esapi, _endorsement_key(esapi, template)) as key:
            public, *_ = esapi.read_public(key)
            return _is_about(certificate, public) and _has_private(esapi, known, key, public)
    except ValueError as exc:
        LOG.warning("endorsement certificate is not one kind=%s error=%s", kind, exc)
        return False


def _endorsement_key(esapi: ESAPI, template: TPM2B_PUBLIC) -> ESYS_TR:
    key, *_ = esapi.create_primary(None, template, ESYS_TR.ENDORSEMENT)
    return key


def _is_about(certificate: x509.Certificate, public: TPM2B_PUBLIC) -> bool:
    der = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fixed = TPMA_OBJECT(public.publicArea.objectAttributes) & _ENDORSEMENT == _ENDORSEMENT
    return fixed and der == bytes(public.to_der())


def _has_private(esapi: ESAPI, root: ESYS_TR, key: ESYS_TR, public: TPM2B_PUBLIC) -> bool:
    """Whether it can read what was encrypted for the endorsement key and our root key (part 1, 24)."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    credential, encrypted = make_credential(public, secret, esapi.tr_get_name(root))
    with policy(esapi, root) as session:
        esapi.policy_secret(ESYS_TR.ENDORSEMENT, session)
        try:
            read = esapi.activate_credential(root, key, credential, encrypted, session2=session)
        except TSS2_Exception as exc:
            LOG.warning("this TPM cannot use the key its certificate is about code=0x%x", exc.rc)
            return False
    return hmac.compare_digest(bytes(read), secret)
