"""A fleet's authority, made for one test: it signs what devices ask for."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edged.keys import cose

NOW_S = 1_800_000_000
DAY_S = 86_400
CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH,)


class FleetKey:
    """A key of the fleet, or the recovery key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = self.private.public_key()
        self.spki = self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.private_pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, payload: bytes, purpose: str) -> bytes:
        """COSE_Sign1."""
        return cose.sign1(self._raw, payload, kid=cose.key_id(self.spki), purpose=purpose)

    def _raw(self, digest: bytes) -> bytes:
        assert len(digest) == hashlib.sha256().digest_size
        r, s = decode_dss_signature(self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Authority:
    """A certificate authority, its own root or under another."""

    def __init__(self, name: str = "fleet CA", above: Authority | None = None, *, ca: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._above = above
        issuer, signer = (self.name, self.key) if above is None else (above.name, above.key)
        builder = _builder(self.name, issuer, self.key.public_key(), NOW_S - DAY_S, NOW_S + 3650 * DAY_S)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        self.certificate = builder.sign(signer, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        request: bytes,
        *,
        name: str | None = None,
        usage: Sequence[x509.ObjectIdentifier] = CLIENTS,
        from_s: int = NOW_S - DAY_S,
        until_s: int = NOW_S + 90 * DAY_S,
    ) -> bytes:
        """A certificate for what was asked, or not quite; with its own where it is an intermediate."""
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        subject = (
            asked.subject if name is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        )
        builder = _builder(subject, self.name, asked.public_key(), from_s, until_s)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return leaf if self._above is None else leaf + self.pem


def _builder(
    subject: x509.Name, issuer: x509.Name, public: object, from_s: int, until_s: int
) -> x509.CertificateBuilder:
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.fromtimestamp(from_s, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(until_s, dt.UTC))
    )
