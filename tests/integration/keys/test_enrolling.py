"""A device is enrolled, and renews its certificate."""

from __future__ import annotations

from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edged.errors import KeysCorrupt, KeysUnavailable, NotEnrolled, Rejected, StorageError, Unreachable
from edged.keys import cose, enrolling, enrolment
from edged.keys.enrolling import STATEMENT, Application
from edged.keys.enrolment import ANCHORS, TlsKind
from edged.keys.status import status
from edged.keys.vault import Vault
from tests.rig.keyring import Device
from tests.rig.pki import DAY_S, NOW_S, Authority, FleetKey

FLEET, CA = FleetKey(), Authority()


def begun(vault: Vault, tls: TlsKind = "tpm-sealed") -> Application:
    return enrolling.begin(
        vault,
        device="cam-7",
        anchors=[enrolment.load_anchor(FLEET.pem)],
        broker_ca=CA.pem,
        device_ca=CA.pem,
        tls=tls,
        now_s=NOW_S,
    )


@pytest.fixture
def vault(device: Device) -> Vault:
    return device.place().open_or_make()


def test_a_device_is_enrolled_by_its_certificate(device: Device, vault: Vault) -> None:
    request = begun(vault).request
    with pytest.raises(NotEnrolled):
        enrolling.material(vault)
    enrolling.finish(vault, CA.issue(request), NOW_S)
    vault.close()
    again = device.place().open()
    known = enrolling.current(again)
    assert known is not None
    assert enrolment.believed(known, FLEET.sign(b"config", "config"), "config").payload == b"config"
    material = enrolling.material(again)
    assert material.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert material.key.startswith(b"-----BEGIN PRIVATE KEY")
    assert again.committed.floor_s == NOW_S
    assert device.noted.names() == ["keys.init", "enrol.begin", "keys.sign", "enrol.certificate"]
    again.close()


def test_what_the_device_says_of_itself_is_signed_by_its_identity(vault: Vault) -> None:
    made = begun(vault)
    said = cbor2.loads(cose.verify1(vault.identity, made.statement, purpose=STATEMENT).payload)
    assert (said["device"], said["identity"], said["request"]) == ("cam-7", vault.identity, made.request)
    assert said["protection"] == vault.protection


def test_the_tls_key_is_not_the_identity_and_lies_open_only_where_that_was_chosen(tmp_path: Path) -> None:
    for kind in ("tpm-sealed", "file"):
        device = Device(tmp_path / kind)
        vault = device.place().open_or_make()
        enrolling.finish(vault, CA.issue(begun(vault, kind).request), NOW_S)
        known = enrolling.current(vault)
        assert known is not None
        assert known.tls is not None
        assert known.tls.spki != vault.identity
        key = enrolling.material(vault).key
        raw = b"".join(path.read_bytes() for path in device.keys.iterdir())
        assert (_scalar(key) in raw) == (kind == "file")


def _scalar(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def test_a_tls_key_inside_the_tpm_asks_for_its_certificate_and_never_comes_out(tpm_device: Device) -> None:
    vault = tpm_device.place().open_or_make()
    enrolling.finish(vault, CA.issue(begun(vault, "tpm-native").request), NOW_S)
    vault.close()
    again = tpm_device.place().open()
    material = enrolling.material(again)
    assert material.key.startswith(b"-----BEGIN TSS2 PRIVATE KEY")
    assert len(material.password) >= 32
    again.close()


def test_a_tls_key_inside_a_tpm_needs_a_tpm(tmp_path: Path) -> None:
    vault = Device(tmp_path).place().open_or_make()
    with pytest.raises(KeysUnavailable, match="needs a TPM"):
        begun(vault, "tpm-native")


def test_a_certificate_that_is_not_right_changes_nothing(vault: Vault) -> None:
    request = begun(vault).request
    for chain in (Authority("stranger").issue(request), CA.issue(request, name="cam-8"), b"nonsense"):
        with pytest.raises(Rejected):
            enrolling.finish(vault, chain, NOW_S)
    known = enrolling.current(vault)
    assert known is not None
    assert known.enrolled_s is None


def test_a_clock_before_the_enrolment_does_not_make_an_expired_certificate_good(vault: Vault) -> None:
    enrolling.finish(vault, CA.issue(begun(vault).request), NOW_S)
    request = enrolling.renew(vault, "tpm-sealed").request
    expired = CA.issue(request, from_s=NOW_S - 10 * DAY_S, until_s=NOW_S - DAY_S)
    with pytest.raises(Rejected, match="valid from"):
        enrolling.finish(vault, expired, NOW_S - 5 * DAY_S)


def test_a_renewed_certificate_is_tried_before_the_old_one_goes(vault: Vault) -> None:
    enrolling.finish(vault, CA.issue(begun(vault).request), NOW_S)
    old = enrolling.material(vault)
    renewed = CA.issue(enrolling.renew(vault, "tpm-sealed").request)
    assert enrolling.material(vault) == old

    def refused(_: object) -> None:
        raise Unreachable("the broker refuses it")

    with pytest.raises(Unreachable):
        enrolling.finish(vault, renewed, NOW_S, refused)
    assert enrolling.material(vault) == old
    enrolling.finish(vault, renewed, NOW_S, lambda _: None)
    assert enrolling.material(vault).certificate == renewed
    assert enrolling.material(vault).key != old.key


def test_what_an_operator_should_do_is_in_the_status(vault: Vault) -> None:
    enrolling.finish(vault, CA.issue(begun(vault).request, until_s=NOW_S + 30 * DAY_S), NOW_S)
    known = enrolling.current(vault)
    late = status(
        vault.keystore, vault.protection, vault.committed, vault.algorithm, known, NOW_S + 20 * DAY_S
    )
    assert late.enrolment is not None
    assert late.enrolment.renewal_due
    assert any("edged enrol renew" in line for line in late.warnings)
    assert any("no recovery key" in line for line in late.warnings)


def test_trust_anchors_are_replaced_by_the_fleets_signature_and_never_go_back(
    device: Device, vault: Vault
) -> None:
    enrolling.finish(vault, CA.issue(begun(vault).request), NOW_S)
    other = FleetKey()
    message = FLEET.sign(cbor2.dumps([2, [other.spki]]), ANCHORS)
    enrolling.replace_anchors(vault, message)
    vault.close()
    again = device.place().open()
    with pytest.raises(Rejected, match="none of the fleet's"):
        enrolling.replace_anchors(again, message)
    again.close()


@pytest.mark.parametrize("name", ["Cam 7", "", "x" * 64, "-cam", "cam/7"])
def test_a_device_needs_a_name_that_fits_a_topic(vault: Vault, name: str) -> None:
    with pytest.raises(Rejected, match="name"):
        enrolling.begin(
            vault,
            device=name,
            anchors=[enrolment.load_anchor(FLEET.pem)],
            broker_ca=CA.pem,
            device_ca=CA.pem,
            tls="file",
            now_s=NOW_S,
        )


def test_an_enrolment_that_cannot_be_noted_does_not_happen(device: Device, vault: Vault) -> None:
    device.noted.refuse = StorageError("the disk is full")
    with pytest.raises(StorageError):
        begun(vault)
    assert enrolling.current(vault) is None


def test_nobody_enrols_a_device_a_second_time_or_without_an_anchor(vault: Vault) -> None:
    with pytest.raises(Rejected, match="no trust anchor"):
        enrolling.begin(
            vault, device="cam-7", anchors=[], broker_ca=CA.pem, device_ca=CA.pem, tls="file", now_s=NOW_S
        )
    with pytest.raises(NotEnrolled):
        enrolling.finish(vault, b"", NOW_S)
    with pytest.raises(NotEnrolled):
        enrolling.renew(vault, "file")
    enrolling.finish(vault, CA.issue(begun(vault).request), NOW_S)
    with pytest.raises(Rejected, match="is enrolled as cam-7"):
        begun(vault)


def test_a_sealed_tls_key_of_another_device_does_not_open(tmp_path: Path) -> None:
    one, other = Device(tmp_path / "one"), Device(tmp_path / "other")
    vault = one.place().open_or_make()
    enrolling.finish(vault, CA.issue(begun(vault).request), NOW_S)
    data = vault.read(enrolment.NAME)
    thief = other.place().open_or_make()
    thief.commit({enrolment.NAME: data})
    with pytest.raises(KeysCorrupt):
        enrolling.material(thief)
