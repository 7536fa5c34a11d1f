"""Boot policies and approvals, made where no TPM is."""

from __future__ import annotations

import cbor2
import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edged.errors import KeysPolicy, Rejected
from edged.keys.tpm import policy
from edged.keys.tpm.policy import Approval, BootPolicy, approve

FLEET = ec.derive_private_key(7, ec.SECP256R1())
SPKI = FLEET.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RULE = BootPolicy(approver=SPKI, pcrs=(0, 7))
STATE = {0: bytes([1] * 32), 7: bytes(32)}


def verified(approval: Approval) -> bool:
    r, s = (int.from_bytes(half, "big") for half in (approval.signature[:32], approval.signature[32:]))
    try:
        FLEET.public_key().verify(
            encode_dss_signature(r, s), approval.state + policy.REFERENCE, ec.ECDSA(hashes.SHA256())
        )
    except InvalidSignature:
        return False
    return True


def test_an_approval_is_signed_over_state_and_purpose() -> None:
    assert verified(approve(FLEET, RULE, STATE))


def test_states_registers_and_generations_have_digests_of_their_own() -> None:
    other_registers = BootPolicy(approver=SPKI, pcrs=(0, 8))
    digests = {
        approve(FLEET, RULE, STATE).state,
        approve(FLEET, RULE, STATE | {7: bytes([2] * 32)}).state,
        approve(FLEET, other_registers, {0: STATE[0], 8: STATE[7]}).state,
        approve(FLEET, RULE, STATE, generation=(0x0180ED03, 5)).state,
        approve(FLEET, RULE, STATE, generation=(0x0180ED03, 6)).state,
        approve(FLEET, RULE, STATE, generation=(0x0180ED04, 5)).state,
    }
    assert len(digests) == 6


def test_a_policy_hangs_on_the_approver_alone() -> None:
    assert RULE.digest() == BootPolicy(approver=SPKI, pcrs=(4,)).digest()
    other = ec.derive_private_key(8, ec.SECP256R1()).public_key()
    spki = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert RULE.digest() != BootPolicy(approver=spki, pcrs=RULE.pcrs).digest()


@pytest.mark.parametrize("value", [bytes(32), b"\xff" * 32])
def test_a_state_in_which_nothing_was_measured_is_not_approved(value: bytes) -> None:
    with pytest.raises(KeysPolicy, match="nothing is measured into the PCRs of the policy \\(0, 7\\)"):
        approve(FLEET, RULE, dict.fromkeys(RULE.pcrs, value))


def test_only_p256_keys_approve() -> None:
    others: list[ec.EllipticCurvePublicKey | rsa.RSAPublicKey] = [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(),
    ]
    for key in others:
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(Rejected, match="P-256"):
            BootPolicy(approver=spki, pcrs=(7,)).digest()
    with pytest.raises(Rejected, match="not a public key"):
        BootPolicy(approver=b"nonsense", pcrs=(7,)).digest()


def test_policies_and_approvals_travel_as_cbor() -> None:
    for made in (RULE, approve(FLEET, RULE, STATE), approve(FLEET, RULE, STATE, generation=(0x0180ED03, 5))):
        wire = cbor2.loads(cbor2.dumps(msgspec.to_builtins(made, builtin_types=(bytes,))))
        assert msgspec.convert(wire, type(made), builtin_types=(bytes,)) == made
