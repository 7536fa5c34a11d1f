"""Satisfying a boot policy: by an approval for the state the machine is in, or by the recovery secret."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_EO,
    TPM2B_OPERAND,
    TPM2B_PUBLIC,
    TPMA_OBJECT,
    TPML_DIGEST,
    TPML_PCR_SELECTION,
    TPMS_SIGNATURE_ECC,
    TPMT_ASYM_SCHEME,
    TPMT_SIGNATURE,
    TPMU_SIGNATURE,
)

from edged.errors import KeysPolicy
from edged.keys.tpm import names, policy
from edged.keys.tpm.device import Device
from edged.keys.tpm.indices import Counter
from edged.keys.tpm.policy import Approval, BootPolicy
from edged.keys.tpm.sessions import flushed


def read_pcrs(esapi: ESAPI, pcrs: Sequence[int]) -> dict[int, bytes]:
    """The SHA-256 registers' values. Raises KeysPolicy where the TPM has no such bank."""
    values: dict[int, bytes] = {}
    for pcr in pcrs:  # a TPM answers as many at once as it likes
        _, _, digests = esapi.pcr_read(selection((pcr,)))
        if len(digests) != 1:
            raise KeysPolicy(f"this TPM has no SHA-256 PCR {pcr}: allocate the bank in the firmware's setup")
        values[pcr] = bytes(digests[0])
    return values


class Measured:
    """The boot policy of this device, and the approvals it was given."""

    def __init__(self, rule: BootPolicy, approvals: Sequence[Approval], generation: Counter) -> None:
        self.rule = rule
        self._approvals = sorted(
            approvals, key=lambda a: -1 if a.generation is None else a.generation, reverse=True
        )
        self._generation = generation

    def refuse_unmeasured(self, device: Device) -> None:
        """Raises KeysPolicy where the machine does not measure its boot."""
        policy.refuse_unmeasured(self.rule.pcrs, device.run(lambda esapi: read_pcrs(esapi, self.rule.pcrs)))

    def satisfy(self, esapi: ESAPI, session: ESYS_TR, proof: ESYS_TR) -> None:
        """Bring the policy session `session` to where the secret opens; `proof` speaks for the TPM's owner.

        Raises KeysPolicy where no approval is for the state the machine is in.
        """
        esapi.policy_pcr(session, b"", selection(self.rule.pcrs))
        approval = self._find(bytes(esapi.policy_get_digest(session)))
        if approval.generation is not None:
            operand = TPM2B_OPERAND(approval.generation.to_bytes(8, "big"))
            with self._generation.found(esapi) as index:
                esapi.policy_nv(ESYS_TR.OWNER, index, session, operand, TPM2_EO.UNSIGNED_LE, session1=proof)
        self._authorise(esapi, session, approval)
        self._choose(esapi, session)

    def recover(self, esapi: ESAPI, session: ESYS_TR) -> None:
        """Likewise by the recovery secret, which is the sealed object's authorisation."""
        esapi.policy_auth_value(session)
        self._choose(esapi, session)

    def _find(self, state: bytes) -> Approval:
        for approval in self._approvals:
            expected = state
            if approval.generation is not None:
                expected = policy.until(state, self._generation.handle, approval.generation)
            if approval.state == expected:
                return approval
        raise KeysPolicy(
            f"no approval for the measured state of this machine ({state.hex()}): send one for it, "
            "or use the recovery secret"
        )

    def _authorise(self, esapi: ESAPI, session: ESYS_TR, approval: Approval) -> None:
        """A ticket for the approval's signature, spent at once; the owner's hierarchy, for the null one gives none."""
        signed = hashlib.sha256(approval.state + policy.REFERENCE).digest()
        with flushed(esapi, esapi.load_external(_public(self.rule.approver), hierarchy=ESYS_TR.OWNER)) as key:
            ticket = esapi.verify_signature(key, signed, _signature(approval.signature))
            esapi.policy_authorize(
                policy_session=session,
                approved_policy=approval.state,
                policy_ref=policy.REFERENCE,
                key_sign=esapi.tr_get_name(key),
                check_ticket=ticket,
            )

    def _choose(self, esapi: ESAPI, session: ESYS_TR) -> None:
        esapi.policy_or(session, TPML_DIGEST(list(self.rule.branches())))


def selection(pcrs: Sequence[int]) -> TPML_PCR_SELECTION:
    """Of the SHA-256 bank."""
    return TPML_PCR_SELECTION.unmarshal(policy.selection(tuple(pcrs)))[0]


def _public(der: bytes) -> TPM2B_PUBLIC:
    pem = names.p256(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return TPM2B_PUBLIC.from_pem(
        pem,
        nameAlg=TPM2_ALG.SHA256,
        objectAttributes=TPMA_OBJECT.SIGN_ENCRYPT | TPMA_OBJECT.USERWITHAUTH,
        scheme=TPMT_ASYM_SCHEME(scheme=TPM2_ALG.NULL),
    )


def _signature(flat: bytes) -> TPMT_SIGNATURE:
    ecdsa = TPMS_SIGNATURE_ECC(hash=TPM2_ALG.SHA256, signatureR=flat[:32], signatureS=flat[32:])
    return TPMT_SIGNATURE(sigAlg=TPM2_ALG.ECDSA, signature=TPMU_SIGNATURE(ecdsa=ecdsa))
