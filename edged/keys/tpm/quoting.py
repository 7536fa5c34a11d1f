"""What the TPM states about itself, signed by its attestation key (`edged.keys.attest` judges it)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2B_ATTEST,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TSS2_Exception,
)

from edged.errors import KeysUnavailable
from edged.keys import statement
from edged.keys.attest import Signed
from edged.keys.backend import Sealed
from edged.keys.statement import Quote
from edged.keys.tpm import codes, objects
from edged.keys.tpm.device import Device
from edged.keys.tpm.indices import ANCHOR_BYTES, Anchor
from edged.keys.tpm.measured import read_pcrs, selection
from edged.keys.tpm.root import Root
from edged.keys.tpm.sessions import salted

_TRIES: Final = 3
Quoted = tuple[Signed, dict[int, bytes]]


def quote(device: Device, root: Root, key: Sealed, auth: bytes, nonce: bytes, pcrs: Sequence[int]) -> Quoted:
    """The registers, and the TPM's word for them; taken again where one was extended in between."""

    def step(esapi: ESAPI, handle: ESYS_TR, session: ESYS_TR) -> Quoted | None:
        values = read_pcrs(esapi, pcrs)
        signed = _signed(*esapi.quote(handle, selection(pcrs), nonce, session1=session))
        about = statement.parse(signed.statement).about
        digest = hashlib.sha256(b"".join(values[pcr] for pcr in sorted(values))).digest()
        return (signed, values) if isinstance(about, Quote) and about.digest == digest else None

    for _ in range(_TRIES):
        if quoted := objects.use(device, root, key, auth, step):
            return quoted
    raise KeysUnavailable("the measured state kept changing while it was quoted: try again later")


def certify_anchor(
    device: Device, root: Root, key: Sealed, auth: bytes, nonce: bytes, anchor: Anchor
) -> Signed:
    """The TPM's word for the anchor; one session speaks for the key, the other for the owner, who may read."""

    def step(esapi: ESAPI, handle: ESYS_TR, session: ESYS_TR) -> Signed:
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        with root.open(esapi) as parent, salted(esapi, parent) as reading, anchor.found(esapi) as index:
            return _signed(
                *esapi.nv_certify(
                    handle,
                    index,
                    nonce,
                    scheme,
                    ANCHOR_BYTES,
                    auth_handle=ESYS_TR.OWNER,
                    session1=session,
                    session2=reading,
                )
            )

    try:
        return objects.use(device, root, key, auth, step)
    except KeysUnavailable as exc:
        cause = exc.__cause__
        if isinstance(cause, TSS2_Exception) and codes.base(cause.rc) == codes.NV_UNINITIALIZED:
            raise KeysUnavailable("nothing was folded into the audit anchor yet") from exc
        raise


def _signed(attested: TPM2B_ATTEST, signature: TPMT_SIGNATURE) -> Signed:
    return Signed(bytes(attested), objects.flat(signature))
