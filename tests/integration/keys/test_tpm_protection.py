"""What a TPM is taken for: only a vendor's certificate, about a key the TPM really has, makes it hardware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_NT, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC
from tpm2_pytss.utils import NVReadEK, create_ek_template

from edged.keys.backend import Protection
from edged.keys.tpm.opening import TpmSettings, open_tpm
from tests.rig import tpm_faults as faults
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import closing, held
from tests.rig.tpm_faults import Bus

INDICES = {"EK-ECC256": 0x01C0000A, "EK-RSA2048": 0x01C00002}
EK_CERTIFICATE = x509.ObjectIdentifier("2.23.133.8.1")
Ask = Callable[[Path | None], Protection]
LONG_AGO = dt.datetime(2010, 1, 1, tzinfo=dt.UTC)  # its root has expired since: nobody minds


class Vendor:
    """Makes chips, in a folder of certificates of its own."""

    def __init__(self, folder: Path, name: str = "Chips") -> None:
        self.folder = folder
        folder.mkdir()
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name
        self.root = self.certificate(
            f"{name} Root", self.root_key.public_key(), f"{name} Root", self.root_key, ca=True
        )
        issuing = self.certificate(
            f"{name} CA", self.key.public_key(), f"{name} Root", self.root_key, ca=True
        )
        (folder / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
        (folder / "issuing.der").write_bytes(issuing.public_bytes(Encoding.DER))

    def certificate(
        self,
        subject: str,
        key: CertificatePublicKeyTypes,
        issuer: str,
        by: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=_name(issuer), subject_name=_name(subject), public_key=key, serial_number=7
        )
        builder = builder.not_valid_before(LONG_AGO).not_valid_after(LONG_AGO + dt.timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([EK_CERTIFICATE]), critical=False)
        return builder.sign(by, hashes.SHA256())

    def endorse(self, tpm: Swtpm, kind: str, key: CertificatePublicKeyTypes | None = None) -> None:
        """Put a certificate into the TPM, about its own endorsement key where no other is given."""
        with ESAPI(tpm.tcti) as esapi:
            certificate = self.certificate(
                "", key or endorsement_key(esapi, kind), f"{self.name} CA", self.key, ca=False
            )
            write(esapi, INDICES[kind], certificate.public_bytes(Encoding.DER) + bytes(100))


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path / "vendors")


@pytest.fixture
def protection(bus: Bus) -> Ask:
    """What a TPM is taken for that does not admit to be software."""

    def ask(folder: Path | None) -> Protection:
        bus.on(faults.GET_CAPABILITY, posing)
        with closing(backend := open_tpm(TpmSettings(tcti=bus.tcti, vendors=folder))):
            return backend.protection

    return ask


def posing(command: bytes, send: faults.Send) -> bytes:
    return send(command).replace(b"IBM\0", b"IFX\0").replace(b"SW  ", b"SLB9")


def test_a_tpm_that_says_it_is_software_is_that_whatever_its_certificate(tpm: Swtpm, vendor: Vendor) -> None:
    vendor.endorse(tpm, "EK-ECC256")
    with closing(backend := open_tpm(TpmSettings(tcti=tpm.tcti, vendors=vendor.folder))):
        assert backend.protection is Protection.TPM_SW


@pytest.mark.parametrize("kind", INDICES)
def test_a_certificate_of_a_known_vendor_makes_it_hardware(
    tpm: Swtpm, vendor: Vendor, protection: Ask, kind: str
) -> None:
    vendor.endorse(tpm, kind)
    assert protection(vendor.folder) is Protection.TPM_HW


def test_without_vendors_or_without_a_certificate_it_has_proven_nothing(
    tpm: Swtpm, vendor: Vendor, protection: Ask, tmp_path: Path
) -> None:
    assert protection(vendor.folder) is Protection.TPM
    vendor.endorse(tpm, "EK-ECC256")
    assert protection(None) is Protection.TPM
    assert protection(tmp_path / "missing") is Protection.TPM


def test_a_certificate_of_nobody_known_proves_nothing(
    tpm: Swtpm, vendor: Vendor, protection: Ask, tmp_path: Path
) -> None:
    Vendor(tmp_path / "others").endorse(tpm, "EK-ECC256")  # of the same name
    assert protection(vendor.folder) is Protection.TPM


def test_a_chain_without_its_root_proves_nothing(tpm: Swtpm, vendor: Vendor, protection: Ask) -> None:
    vendor.endorse(tpm, "EK-ECC256")
    (vendor.folder / "root.pem").unlink()
    assert protection(vendor.folder) is Protection.TPM


def test_a_certificate_about_another_chips_key_proves_nothing(
    tpm: Swtpm, vendor: Vendor, protection: Ask
) -> None:
    with Swtpm() as another, ESAPI(another.tcti) as esapi:
        stolen = endorsement_key(esapi, "EK-ECC256")
    vendor.endorse(tpm, "EK-ECC256", stolen)
    assert protection(vendor.folder) is Protection.TPM


def test_a_chip_that_cannot_use_the_key_of_its_certificate_proves_nothing(
    tpm: Swtpm, bus: Bus, vendor: Vendor, protection: Ask
) -> None:
    vendor.endorse(tpm, "EK-ECC256")
    bus.on(0x147, faults.answers(0x1DF))  # ActivateCredential
    assert protection(vendor.folder) is Protection.TPM


def test_a_chip_that_reads_something_else_with_the_key_proves_nothing(
    tpm: Swtpm, vendor: Vendor, protection: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.endorse(tpm, "EK-ECC256")
    monkeypatch.setattr(ESAPI, "activate_credential", lambda *_args, **_named: bytes(16))
    assert protection(vendor.folder) is Protection.TPM


def test_bytes_that_are_no_certificate_prove_nothing(tpm: Swtpm, vendor: Vendor, protection: Ask) -> None:
    with ESAPI(tpm.tcti) as esapi:
        write(esapi, INDICES["EK-ECC256"], b"\x30\x82\x00\x10" + bytes(96))
    assert protection(vendor.folder) is Protection.TPM


def test_asking_leaves_no_slot_taken(tpm: Swtpm, vendor: Vendor, protection: Ask) -> None:
    vendor.endorse(tpm, "EK-RSA2048")
    protection(vendor.folder)
    assert held(tpm.tcti) == []


def endorsement_key(esapi: ESAPI, kind: str) -> CertificatePublicKeyTypes:
    _, template = create_ek_template(kind, NVReadEK(esapi))
    key, public, *_ = esapi.create_primary(None, template, ESYS_TR.ENDORSEMENT)
    esapi.flush_context(key)
    return cast(CertificatePublicKeyTypes, load_der_public_key(public.to_der()))


def write(esapi: ESAPI, index: int, data: bytes) -> None:
    attributes = TPMA_NV.AUTHREAD | TPMA_NV.OWNERREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA
    attributes |= TPMA_NV.PPREAD | (TPM2_NT.ORDINARY << TPMA_NV.TPM2_NT_SHIFT)
    public = TPMS_NV_PUBLIC(nvIndex=index, nameAlg=0x000B, attributes=attributes, dataSize=len(data))
    handle = esapi.nv_define_space(b"", TPM2B_NV_PUBLIC(public))
    esapi.nv_write(handle, data)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)] if common else [])
