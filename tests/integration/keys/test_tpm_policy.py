"""Secrets bound to an approved state of the machine, and the way back in for any other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_EO,
    TPM2_RH,
    TPM2_SE,
    TPM2_ST,
    TPM2B_NAME,
    TPM2B_OPERAND,
    TPML_DIGEST,
    TPML_PCR_SELECTION,
    TPMT_SYM_DEF,
    TPMT_TK_VERIFIED,
)

from edged.errors import KeysPolicy
from edged.keys.tpm import names, policy
from edged.keys.tpm.backend import TpmBackend
from edged.keys.tpm.indices import BASE
from edged.keys.tpm.opening import TpmSettings, open_tpm
from edged.keys.tpm.policy import Approval, BootPolicy, approve
from tests.rig import tpm_faults as faults
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import ROOT, SECRET, closing, enrolled, measure
from tests.rig.tpm_faults import Bus

FLEET = ec.derive_private_key(7, ec.SECP256R1())
STRANGER = ec.derive_private_key(8, ec.SECP256R1())
RECOVERY = bytes(range(50, 70))
PCRS = (7, 16)


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


RULE = BootPolicy(approver=public(FLEET), pcrs=PCRS)
FIRMWARE = hashlib.sha256(b"firmware 1").digest()
UPDATE = hashlib.sha256(b"firmware 2").digest()
GENERATION = BASE + 3


def extended(*digests: bytes) -> bytes:
    value = bytes(32)
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


BOOTED = {7: extended(FIRMWARE), 16: bytes(32)}
UPDATED = {7: extended(FIRMWARE), 16: extended(UPDATE)}


@pytest.fixture
def measuring(tpm: Swtpm) -> Swtpm:
    measure(tpm.tcti, 7, FIRMWARE)
    return tpm


def bound(
    tcti: str, approvals: Sequence[Approval], rule: BootPolicy = RULE, recovery: bytes = RECOVERY
) -> TpmBackend:
    backend = open_tpm(TpmSettings(tcti=tcti), rule=rule, approvals=approvals, recovery=recovery)
    backend.authorise(SECRET)
    return backend


def test_an_approved_state_opens_the_secret(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [approve(FLEET, RULE, BOOTED)])):
        assert backend.unseal(backend.seal(ROOT)) == ROOT


def test_an_update_opens_it_with_an_approval_given_ahead_and_the_same_blob(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [approve(FLEET, RULE, BOOTED)])):
        sealed = backend.seal(ROOT)
        measure(measuring.tcti, 16, UPDATE)
        with pytest.raises(KeysPolicy, match="no approval for the measured state"):
            backend.unseal(sealed)
    with closing(
        backend := bound(measuring.tcti, [approve(FLEET, RULE, state) for state in (BOOTED, UPDATED)])
    ):
        assert backend.unseal(sealed) == ROOT


def test_an_approval_by_another_key_opens_nothing(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [approve(STRANGER, RULE, BOOTED)])):
        sealed = backend.seal(ROOT)
        with pytest.raises(KeysPolicy, match="not signed by the key that approves"):
            backend.unseal(sealed)


def test_an_approval_changed_in_one_bit_opens_nothing(measuring: Swtpm) -> None:
    good = approve(FLEET, RULE, BOOTED)
    bad = Approval(state=good.state, signature=good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    with closing(backend := bound(measuring.tcti, [bad])):
        sealed = backend.seal(ROOT)
        with pytest.raises(KeysPolicy, match="not signed by the key that approves"):
            backend.unseal(sealed)


def test_the_recovery_secret_opens_it_in_any_state(measuring: Swtpm, bus: Bus) -> None:
    with closing(backend := bound(bus.tcti, [])):
        sealed = backend.seal(ROOT)
        measure(measuring.tcti, 16, UPDATE)
        assert backend.recover(sealed, RECOVERY) == ROOT
        with pytest.raises(KeysPolicy, match="not the recovery secret"):
            backend.recover(sealed, b"a guess of any length")
    assert RECOVERY not in bus.heard
    assert ROOT not in bus.heard


def test_another_policy_than_the_one_it_was_sealed_to_is_told(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [approve(FLEET, RULE, BOOTED)])):
        sealed = backend.seal(ROOT)
    other = BootPolicy(approver=public(STRANGER), pcrs=PCRS)
    with (
        closing(backend := bound(measuring.tcti, [], other)),
        pytest.raises(KeysPolicy, match="another boot"),
    ):
        backend.unseal(sealed)
    with closing(backend := enrolled(measuring.tcti)), pytest.raises(KeysPolicy, match="another boot policy"):
        backend.unseal(sealed)


def test_what_was_sealed_without_a_policy_opens_beside_one(measuring: Swtpm) -> None:
    with closing(backend := enrolled(measuring.tcti)):
        sealed = backend.seal(ROOT)
    with closing(backend := bound(measuring.tcti, [])):
        assert backend.unseal(sealed) == ROOT == backend.recover(sealed, b"")


@pytest.mark.parametrize("pcrs", [(), (7,), (7, 8, 9), (17, 18)])
def test_registers_into_which_nothing_is_measured_are_refused(tpm: Swtpm, pcrs: tuple[int, ...]) -> None:
    rule = BootPolicy(approver=RULE.approver, pcrs=pcrs)  # 17 and up are all ones after a reset
    with (
        closing(backend := bound(tpm.tcti, [], rule)),
        pytest.raises(KeysPolicy, match="does not measure its boot"),
    ):
        backend.seal(ROOT)


def test_registers_into_which_nothing_is_measured_are_not_approved_either() -> None:
    with pytest.raises(KeysPolicy, match="does not measure its boot"):
        approve(FLEET, RULE, dict.fromkeys(PCRS, bytes(32)))


def test_a_policy_without_a_recovery_secret_is_refused(measuring: Swtpm) -> None:
    with (
        closing(backend := bound(measuring.tcti, [], recovery=b"short")),
        pytest.raises(KeysPolicy, match="recovery secret of 16 random bytes"),
    ):
        backend.seal(ROOT)


def test_an_approval_of_a_past_generation_is_void(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [])):
        sealed, generation = backend.seal(ROOT), backend.generation()
    old = approve(FLEET, RULE, BOOTED, generation=(GENERATION, generation))
    with closing(backend := bound(measuring.tcti, [old])):
        assert backend.unseal(sealed) == ROOT
        assert backend.revoke() == generation + 1
        with pytest.raises(KeysPolicy, match="was revoked"):
            backend.unseal(sealed)
    new = approve(FLEET, RULE, BOOTED, generation=(GENERATION, generation + 1))
    with closing(backend := bound(measuring.tcti, [old, new])):
        assert backend.unseal(sealed) == ROOT


def test_a_register_extended_meanwhile_begins_the_policy_again(measuring: Swtpm, bus: Bus) -> None:
    with closing(backend := bound(bus.tcti, [approve(FLEET, RULE, BOOTED)])):
        sealed = backend.seal(ROOT)
        bus.on(faults.UNSEAL, after_measuring(measuring, 10))
        assert backend.unseal(sealed) == ROOT
    assert bus.codes().count(faults.UNSEAL) == 2


def test_digests_computed_without_a_tpm_are_the_tpms(measuring: Swtpm) -> None:
    with closing(backend := bound(measuring.tcti, [])):
        generation = backend.generation()
    selection, _ = TPML_PCR_SELECTION.unmarshal(RULE.selection())
    with ESAPI(measuring.tcti) as esapi:
        session = trial(esapi)
        esapi.policy_pcr(session, b"", selection)
        assert bytes(esapi.policy_get_digest(session)) == policy.measured(RULE, BOOTED)
        index = esapi.tr_from_tpmpublic(GENERATION)
        assert bytes(esapi.tr_get_name(index)) == names.index(GENERATION, names.NV_COUNTER, 8)
        operand = TPM2B_OPERAND(generation.to_bytes(8, "big"))
        esapi.policy_nv(ESYS_TR.OWNER, index, session, operand, TPM2_EO.UNSIGNED_LE)
        until = policy.until(policy.measured(RULE, BOOTED), GENERATION, generation)
        assert bytes(esapi.policy_get_digest(session)) == until
        esapi.flush_context(session)

        session = trial(esapi)
        ticket = TPMT_TK_VERIFIED(tag=TPM2_ST.VERIFIED, hierarchy=TPM2_RH.OWNER)
        esapi.policy_authorize(
            policy_session=session,
            approved_policy=bytes(32),
            policy_ref=policy.REFERENCE,
            key_sign=TPM2B_NAME(names.external_key(RULE.approver)),
            check_ticket=ticket,
        )
        assert bytes(esapi.policy_get_digest(session)) == RULE.branches()[0]
        esapi.policy_or(session, TPML_DIGEST(list(RULE.branches())))
        assert bytes(esapi.policy_get_digest(session)) == RULE.digest()
        esapi.flush_context(session)


def trial(esapi: ESAPI) -> ESYS_TR:
    plain = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
    return esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.TRIAL, plain, TPM2_ALG.SHA256)


def after_measuring(tpm: Swtpm, pcr: int) -> faults.Fault:
    return faults.after(lambda: measure(tpm.tcti, pcr, os.urandom(32)))
