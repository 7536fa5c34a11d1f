"""Mutual TLS to a real broker, with a key that the TPM seals or never lets out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from edged.errors import KeysUnavailable
from edged.keys import certificates, native, provider
from edged.keys.backend import NativeKey
from edged.keys.devicekey import DeviceKey
from edged.keys.tls import DeviceTls, in_memory
from edged.keys.tpm.backend import TpmBackend
from edged.keys.vault import Purpose
from edged.links.mqtt.config import MqttConfig
from tests.rig.broker import OpenBroker, free_port, running
from tests.rig.certs import Authority
from tests.rig.keyring import Device
from tests.rig.mqtt import online
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import enrolled

CHECKOUT = Path(__file__).parents[3]
HOST = "127.0.0.1"


class Found(NamedTuple):
    certificate: bytes
    key: bytes
    broker_ca: bytes


class Asking(OpenBroker):
    """A broker that lets in who shows a certificate of its authority, and calls him by its name."""

    def __init__(self, home: Path) -> None:
        self.authority = Authority(home / "ca", "ca")
        server = self.authority.server(HOST)
        self.tls_port = free_port()
        conf = f"listener {self.tls_port} {HOST}\nallow_anonymous true\ncafile {self.authority.cert}\n"
        conf += f"certfile {server.cert}\nkeyfile {server.key}\nrequire_certificate true\nuse_identity_as_username true"
        super().__init__(home, conf)

    @property
    def config(self) -> MqttConfig:
        return MqttConfig(brokers=(f"mqtts://{HOST}:{self.tls_port}",))

    def issue(self, request: bytes) -> bytes:
        """A certificate for what was asked."""
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        key = asked.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        builder = self.authority._builder(asked.subject, key)
        return builder.sign(self.authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Asking]:
    made = Asking(tmp_path / "broker")
    with running(made):
        yield made


@pytest.fixture
def backend(tpm: Swtpm) -> Iterator[TpmBackend]:
    opened = enrolled(tpm.tcti)
    yield opened
    opened.close()


def test_mutual_tls_with_a_key_that_the_tpm_seals(tpm_device: Device, broker: Asking) -> None:
    vault = tpm_device.place().open_or_make()
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = vault.seal(
        Purpose.TLS, "tls", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    certificate = broker.issue(certificates.request(key, "dev-42"))

    def fetch() -> Found:
        return Found(certificate, vault.open(Purpose.TLS, "tls", sealed), broker.authority.cert.read_bytes())

    async def scenario() -> None:
        async with online(broker.config, "x", tls=DeviceTls(fetch)) as line:
            await line.say("x", b"hello")
            assert [one.payload for one in await line.ear.messages(1)] == [b"hello"]

    asyncio.run(scenario())
    vault.close()
    assert "'dev-42'" in broker.log


def test_a_broker_takes_nobody_whose_key_is_not_the_certificates(broker: Asking) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    certificate = broker.issue(certificates.request(key, "dev-42"))
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = Found(certificate, pem, broker.authority.cert.read_bytes())
    with pytest.raises(KeysUnavailable, match="does not take the TLS key"):
        DeviceTls(lambda: found).context()


def test_what_was_in_memory_is_nowhere_afterwards() -> None:
    before = os.listdir("/proc/self/fd")
    with in_memory(b"a key") as path:
        assert Path(path).read_bytes() == b"a key"
        assert Path(path).readlink().name.startswith("memfd:edged:tls")
    assert os.listdir("/proc/self/fd") == before
    assert not Path(path).exists()


def test_a_key_inside_the_tpm_asks_for_its_certificate(backend: TpmBackend) -> None:
    key = backend.make_tls_key()
    request = certificates.request(
        DeviceKey(backend.public_key(key), lambda d: backend.sign_tls(key, d)), "dev-42"
    )
    asked = x509.load_pem_x509_csr(request)
    assert asked.is_signature_valid
    spki = asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == backend.public_key(key)


def test_the_authorisation_the_provider_shows_on_the_bus_is_of_no_other_use(backend: TpmBackend) -> None:
    shown = backend.tls_key(backend.make_tls_key()).password
    assert shown.encode() != backend._shown()
    assert backend.tls_key(backend.make_tls_key()).password == shown


def test_mutual_tls_with_a_key_inside_the_tpm_where_a_handshake_proves_it_and_else_a_sealed_one(
    tpm: Swtpm, backend: TpmBackend, broker: Asking, tmp_path: Path
) -> None:
    key = backend.make_tls_key()
    request = certificates.request(
        DeviceKey(backend.public_key(key), lambda d: backend.sign_tls(key, d)), "dev-42"
    )
    prepare(tmp_path, backend.tls_key(key), broker.issue(request), broker.authority.cert.read_bytes())
    backend.close()
    said = connect(tpm, broker, tmp_path)
    if said == "connected":
        assert "'dev-42'" in broker.log
    else:
        assert "tpm2-openssl" in said


def test_without_the_provider_the_self_test_refuses_with_the_remedy(
    tpm: Swtpm, backend: TpmBackend, broker: Asking, tmp_path: Path
) -> None:
    key = backend.make_tls_key()
    prepare(tmp_path, backend.tls_key(key), b"", b"")
    said = connect(tpm, broker, tmp_path, OPENSSL_MODULES=str(tmp_path))
    assert said.startswith("refused: OpenSSL has no provider tpm2")
    assert "apt-get install tpm2-openssl" in said


def test_a_machine_that_cannot_is_asked_for_a_sealed_key_and_goes_on_with_tls(
    tpm: Swtpm, backend: TpmBackend, broker: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path))
    monkeypatch.setenv("TPM2OPENSSL_TCTI", "")
    assert not native.possible(backend, tpm.tcti)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = Found(broker.issue(certificates.request(key, "d")), pem, broker.authority.cert.read_bytes())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    native.prove(NativeKey(pem, "", public))
    assert DeviceTls(lambda: found).context()


def test_the_self_test_proves_the_very_key(backend: TpmBackend) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeysUnavailable, match="does not take the TLS key"):
        native.prove(NativeKey(pem, "", public))


def test_an_openssl_that_is_not_the_systems_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl.OPENSSL_VERSION", "OpenSSL 9.9.9")
    with pytest.raises(KeysUnavailable, match=r"an OpenSSL of its own \(OpenSSL 9.9.9"):
        provider.Provider("device:/dev/tpmrm0")


def test_a_device_key_gives_nothing_away(backend: TpmBackend) -> None:
    key = backend.make_tls_key()
    public = backend.public_key(key)
    inside = DeviceKey(public, lambda digest: backend.sign_tls(key, digest))
    assert inside.public_key() == load_der_public_key(public)
    assert (inside.key_size, inside.curve.name) == (256, "secp256r1")
    for ask in (
        inside.private_numbers,
        lambda: inside.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        lambda: inside.exchange(ec.ECDH(), inside.public_key()),
    ):
        with pytest.raises(NotImplementedError):
            ask()
    with pytest.raises(ValueError, match="SHA-256 alone"):
        inside.sign(b"", ec.ECDSA(hashes.SHA384()))


def prepare(home: Path, key: NativeKey, certificate: bytes, ca: bytes) -> None:
    (home / "key.pem").write_bytes(key.pem)
    (home / "password").write_text(key.password)
    (home / "key.der").write_bytes(key.public)
    (home / "device.crt").write_bytes(certificate)
    (home / "ca.crt").write_bytes(ca)


def connect(tpm: Swtpm, broker: Asking, home: Path, **environ: str) -> str:
    """What a process says that does TLS with the key inside the TPM."""
    command = [sys.executable, "-m", "tests.rig.native_tls", tpm.tcti, HOST, str(broker.tls_port), str(home)]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()
