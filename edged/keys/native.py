"""Whether this machine can do TLS with a key that stays in the TPM: tried, not looked up.

tpm2-openssl before 1.2 loads such a key and then fails in the handshake, with every setting of its own.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from edged.errors import KeysUnavailable
from edged.keys import tls
from edged.keys.backend import NativeKey, Sealed
from edged.keys.provider import Provider
from edged.keys.tpm import names

LOG = logging.getLogger(__name__)

_HOST: Final = "self-test.invalid"
_ROUNDS: Final = 8
_FROM: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # a board may not know the time
_UNTIL: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
_SAID: Final = b"edged"


class _Pair(NamedTuple):
    certificate: bytes
    key: bytes
    broker_ca: bytes


class Makes(Protocol):
    """A backend with keys for TLS inside it."""

    def make_tls_key(self) -> Sealed:
        """A new one."""

    def tls_key(self, key: Sealed) -> NativeKey:
        """It, as OpenSSL takes it."""


def possible(backend: Makes, tcti: str) -> bool:
    """Whether a certificate may be asked for a key inside the TPM; where not, `tpm-sealed` is what is left.

    Tried with a key of its own, on the keys' thread. Raises KeysUnavailable where the TPM itself does not answer.
    """
    key = backend.tls_key(backend.make_tls_key())
    try:
        load(tcti, key).unload()
    except KeysUnavailable as exc:
        LOG.warning("no TLS with a key inside the TPM, so it is sealed instead: %s", exc.message)
        return False
    return True


def load(tcti: str, key: NativeKey) -> Provider:
    """OpenSSL's provider for the TPM, proven with `key`; for the keys' thread, before any other TLS of this process.

    Raises KeysUnavailable with the reason; nothing is then left loaded.
    """
    provider = Provider(tcti)
    try:
        prove(key)
    except KeysUnavailable:
        provider.unload()
        raise
    return provider


def prove(key: NativeKey) -> None:
    """Shake hands, in memory, with a server that asks for `key`; raises KeysUnavailable."""
    authority = ec.generate_private_key(ec.SECP256R1())
    trusted = _certificate(authority.public_key(), authority, ca=True)
    own = _certificate(names.p256(key.public), authority)
    ours = tls.context(_Pair(own, key.pem, trusted), key.password)
    to_us, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(to_us, to_server, server_hostname=_HOST)
    server = _asking(authority, trusted).wrap_bio(to_server, to_us, server_side=True)
    with _explained():
        _shake(client, server)
        client.write(_SAID)
        heard = server.read()
    if heard != _SAID or server.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(own.decode()):
        raise KeysUnavailable("TLS with the key inside the TPM did not prove that key")


def _asking(authority: ec.EllipticCurvePrivateKey, trusted: bytes) -> ssl.SSLContext:
    """A server's context that takes nobody without a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_verify_locations(cadata=trusted.decode())
    made.verify_mode = ssl.CERT_REQUIRED
    tls.load_key(made, _certificate(key.public_key(), authority), plain)
    return made


def _shake(client: ssl.SSLObject, server: ssl.SSLObject) -> None:
    """Until both are done: in TLS 1.3 the client believes so before the server has seen its certificate."""
    waiting = [client, server]
    for _ in range(_ROUNDS):
        for side in tuple(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                waiting.remove(side)
    if waiting:
        raise KeysUnavailable("TLS with the key inside the TPM does not come to an end")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as exc:  # an ssl.SSLError too
        raise KeysUnavailable(
            f"OpenSSL cannot do TLS with a key inside the TPM ({exc}): tpm2-openssl 1.2 or later can"
        ) from exc


def _certificate(
    key: ec.EllipticCurvePublicKey, by: ec.EllipticCurvePrivateKey, *, ca: bool = False
) -> bytes:
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edged self-test")])
    subject = authority if ca else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _HOST)])
    builder = x509.CertificateBuilder(authority, subject, key, x509.random_serial_number(), _FROM, _UNTIL)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(_HOST)]), critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)
