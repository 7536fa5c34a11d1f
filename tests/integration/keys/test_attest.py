"""Evidence by a TPM, judged without one: what is replayed, of another device or in another state is refused by name."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import ESAPI, TPM2_NT, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC

from edged.errors import KeysUnavailable
from edged.keys import attest
from edged.keys.attest import Expected, Reason
from edged.keys.tpm.opening import TpmSettings
from tests.rig import tpm_faults as faults
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import DIGEST, closing, enrolled, measure
from tests.rig.tpm_faults import Bus

NONCE = bytes(range(20))
PCRS = (0, 7, 16)
FIRMWARE = hashlib.sha256(b"firmware").digest()
BOOTED = {0: bytes(32), 7: hashlib.sha256(bytes(32) + FIRMWARE).digest(), 16: bytes(32)}
ANCHOR = hashlib.sha256(bytes(32) + DIGEST).digest()


class Device:
    """One that booted, wrote something in its audit log, and is known to the verifier."""

    def __init__(self, tcti: str) -> None:
        self.backend = enrolled(tcti)
        self.backend.extend(DIGEST)
        self.key = self.backend.make_attestation_key()

    @property
    def public(self) -> bytes:
        return self.backend.public_key(self.key)

    def evidence(self, nonce: bytes = NONCE) -> bytes:
        return attest.quote(self.backend, self.key, nonce, PCRS)

    def expected(self, **changes: object) -> Expected:
        known = Expected(key=self.public, pcrs=BOOTED, anchor=ANCHOR)
        return msgspec.structs.replace(known, **changes)


@pytest.fixture
def device(tpm: Swtpm) -> Iterator[Device]:
    measure(tpm.tcti, 7, FIRMWARE)
    one = Device(tpm.tcti)
    with closing(one.backend):
        yield one


def changed(evidence: bytes, **fields: object) -> bytes:
    return cbor2.dumps(cbor2.loads(evidence) | fields, canonical=True)


def test_a_device_in_the_expected_state_is_trusted(device: Device) -> None:
    verdict = attest.verify(device.evidence(), NONCE, device.expected())
    assert verdict.trusted, verdict
    assert (verdict.pcrs, verdict.anchor) == (BOOTED, ANCHOR)


def test_what_is_not_expected_is_told(device: Device) -> None:
    unknown = Expected(key=device.public, pcrs=dict.fromkeys(PCRS))
    verdict = attest.verify(device.evidence(), NONCE, unknown)
    assert verdict.trusted
    assert (verdict.pcrs, verdict.anchor) == (BOOTED, ANCHOR)


def test_a_replay_is_refused(device: Device) -> None:
    assert attest.verify(device.evidence(), NONCE[::-1], device.expected()).reason is Reason.REPLAYED


def test_an_old_anchor_beside_a_fresh_quote_is_refused(device: Device) -> None:
    old, fresh = cbor2.loads(device.evidence(NONCE[::-1])), device.evidence()
    mixed = changed(fresh, anchor=old["anchor"], anchor_signature=old["anchor_signature"])
    assert attest.verify(mixed, NONCE, device.expected()).reason is Reason.REPLAYED


def test_another_device_is_refused(device: Device) -> None:
    with Swtpm() as tpm:
        another = Device(tpm.tcti)
        with closing(another.backend):
            assert attest.verify(another.evidence(), NONCE, device.expected()).reason is Reason.WRONG_DEVICE


def test_another_key_of_the_same_device_is_refused(device: Device) -> None:
    device_key, device.key = device.public, device.backend.make_attestation_key()
    assert (
        attest.verify(device.evidence(), NONCE, device.expected(key=device_key)).reason is Reason.WRONG_DEVICE
    )


def test_another_state_is_refused(tpm: Swtpm, device: Device) -> None:
    measure(tpm.tcti, 16, FIRMWARE)
    verdict = attest.verify(device.evidence(), NONCE, device.expected())
    assert verdict.reason is Reason.WRONG_STATE
    assert "[16]" in verdict.detail


def test_registers_told_otherwise_than_signed_are_refused(tpm: Swtpm, device: Device) -> None:
    measure(tpm.tcti, 16, FIRMWARE)
    lie = changed(device.evidence(), pcrs=BOOTED)
    assert attest.verify(lie, NONCE, device.expected()).reason is Reason.WRONG_STATE


def test_fewer_registers_than_asked_for_are_refused(device: Device) -> None:
    few = attest.quote(device.backend, device.key, NONCE, (0, 7))
    assert attest.verify(few, NONCE, device.expected()).reason is Reason.WRONG_SELECTION
    assert attest.verify(changed(few, pcrs=BOOTED), NONCE, device.expected()).reason is Reason.WRONG_SELECTION


def test_an_anchor_that_is_behind_the_log_is_refused(device: Device) -> None:
    ahead = device.expected(anchor=hashlib.sha256(ANCHOR + DIGEST).digest())
    assert attest.verify(device.evidence(), NONCE, ahead).reason is Reason.WRONG_ANCHOR


def test_evidence_without_the_anchor_is_refused_unless_it_is_not_wanted(device: Device) -> None:
    bare = attest.quote(device.backend, device.key, NONCE, PCRS, anchored=False)
    assert attest.verify(bare, NONCE, device.expected()).reason is Reason.WRONG_ANCHOR
    assert attest.verify(bare, NONCE, device.expected(anchor=None, anchored=False)).trusted


def test_an_index_anybody_may_write_is_not_taken_for_the_anchor(tpm: Swtpm, device: Device) -> None:
    with ESAPI(tpm.tcti) as esapi:  # what an owner of the TPM can do to have any content certified
        esapi.nv_undefine_space(esapi.tr_from_tpmpublic(attest.ANCHOR_INDEX))
        attributes = TPMA_NV.AUTHWRITE | TPMA_NV.AUTHREAD | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA
        public = TPMS_NV_PUBLIC(
            nvIndex=attest.ANCHOR_INDEX,
            nameAlg=0x000B,
            attributes=attributes | TPM2_NT.ORDINARY << TPMA_NV.TPM2_NT_SHIFT,
            dataSize=32,
        )
        esapi.nv_write(esapi.nv_define_space(b"", TPM2B_NV_PUBLIC(public)), ANCHOR)
        index = esapi.tr_from_tpmpublic(attest.ANCHOR_INDEX)
        device.backend._anchor._index._names.add(bytes(esapi.tr_get_name(index)))  # a device that plays along
    evidence = device.evidence()
    assert attest.verify(evidence, NONCE, device.expected()).reason is Reason.WRONG_ANCHOR


def test_a_reset_between_the_two_statements_is_refused(tpm: Swtpm, device: Device) -> None:
    before = cbor2.loads(device.evidence())
    tpm.restart()
    measure(tpm.tcti, 7, FIRMWARE)
    mixed = changed(device.evidence(), anchor=before["anchor"], anchor_signature=before["anchor_signature"])
    assert attest.verify(mixed, NONCE, device.expected()).reason is Reason.INTERRUPTED


def test_what_an_ordinary_key_signed_is_no_statement_of_a_tpm(device: Device) -> None:
    key = ec.derive_private_key(9, ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    true = cbor2.loads(device.evidence())["quote"]
    for data in (b"\0" + true[1:], true[:4] + b"\x80\x17" + true[6:], true[:-1], true + b"\0", b"", b"hello"):
        forged = changed(device.evidence(), quote=data, quote_signature=signed(key, data))
        assert attest.verify(forged, NONCE, device.expected(key=public)).reason is Reason.NOT_A_TPMS


def test_the_attestation_key_signs_nothing_from_outside(device: Device) -> None:
    with pytest.raises(KeysUnavailable):
        device.backend.sign(device.key, DIGEST)


def test_every_flipped_byte_of_evidence_is_noticed(device: Device) -> None:
    evidence, expected = device.evidence(), device.expected()
    for at in range(len(evidence)):
        broken = evidence[:at] + bytes([evidence[at] ^ 1]) + evidence[at + 1 :]
        assert not attest.verify(broken, NONCE, expected).trusted, at


@pytest.mark.parametrize(
    "spoil",
    [
        lambda evidence: evidence[:-1],
        lambda evidence: evidence + b"\0",
        lambda _: b"",
        lambda _: b"\xbf\xff",
        lambda _: bytes(attest.EVIDENCE_BYTES_MAX + 1),
        lambda evidence: changed(evidence, more=1),
        lambda evidence: changed(evidence, v=2),
        lambda evidence: changed(evidence, quote_signature=b"short"),
        lambda evidence: changed(evidence, pcrs={24: bytes(32)}),
        lambda evidence: changed(evidence, pcrs={0: b"short"}),
        lambda evidence: changed(evidence, quote="text"),
    ],
)
def test_what_is_no_evidence_is_refused(device: Device, spoil: Callable[[bytes], bytes]) -> None:
    assert attest.verify(spoil(device.evidence()), NONCE, device.expected()).reason is Reason.MALFORMED


@pytest.mark.parametrize("size", [0, 15, 33])
def test_a_nonce_that_is_too_short_or_too_long_is_refused(device: Device, size: int) -> None:
    with pytest.raises(ValueError, match="16 to 32 bytes"):
        attest.quote(device.backend, device.key, bytes(size), PCRS)


def test_before_anything_was_logged_there_is_no_anchor_to_certify(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        key = backend.make_attestation_key()
        with pytest.raises(KeysUnavailable, match="no index 0x0180ed02 yet"):
            backend.certify_anchor(key, NONCE)
        backend._anchor._index.use(backend._shown(), lambda *_: None)  # the power went after it was defined
        with pytest.raises(KeysUnavailable, match="nothing was folded into"):
            backend.certify_anchor(key, NONCE)


def test_a_register_extended_during_the_quote_is_quoted_again(tpm: Swtpm, bus: Bus) -> None:
    device = Device(bus.tcti)
    with closing(device.backend):
        bus.on(0x158, faults.after(lambda: measure(tpm.tcti, 7, FIRMWARE)))  # Quote
        assert attest.verify(device.evidence(), NONCE, device.expected()).trusted


def test_the_verifier_needs_no_tpm_library(device: Device) -> None:
    program = (
        "import sys; sys.modules['tpm2_pytss'] = None\n"
        "from edged.keys import attest\n"
        f"expected = attest.Expected(key=bytes.fromhex('{device.public.hex()}'), anchor=bytes.fromhex('{ANCHOR.hex()}'))\n"
        f"verdict = attest.verify(bytes.fromhex('{device.evidence().hex()}'), bytes.fromhex('{NONCE.hex()}'), expected)\n"
        "print(verdict.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "trusted\n"


def test_the_anchors_place_is_the_same_for_both_sides() -> None:
    assert TpmSettings().indices + 2 == attest.ANCHOR_INDEX


def signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
