"""The device's certificate for TLS: asked for, checked before it is used, and renewed early. Pure."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edged.errors import Rejected

CHAIN_MAX = 5
RENEW_AFTER = 2 / 3
"""Of its life: a device that is off for a while still renews in time."""


class Certificate(NamedTuple):
    """What was found out about a certificate that may be used."""

    device: str
    not_before_s: int
    not_after_s: int
    fingerprint: str
    """SHA-256 of its DER."""


def request(key: ec.EllipticCurvePrivateKey, device: str) -> bytes:
    """A certificate request (PEM) for client authentication under the device's name."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(device)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def authorities(pem: bytes) -> list[x509.Certificate]:
    """Every certificate of a file of authorities; Rejected where there is none, or one that is no authority."""
    found = _load(pem)
    for certificate in found:
        if not _is_authority(certificate):
            raise Rejected(f"{_name(certificate)} is no certificate authority (no basicConstraints CA:TRUE)")
    return found


def check(chain_pem: bytes, authorities_pem: bytes, *, spki: bytes, device: str, now_s: int) -> Certificate:
    """What a certificate is, once it may be used; intermediates may follow it.

    Raises Rejected, with the reason: another key, another name, not for clients, not valid now, not issued by one of
    the authorities.
    """
    leaf, *between = _load(chain_pem)
    if leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
        raise Rejected("the certificate is for another key than the one the request was made with")
    names = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device]:
        raise Rejected(f"the certificate is for {', '.join(names) or 'nobody'}, not for {device}")
    if _is_authority(leaf) or not _for_clients(leaf):
        raise Rejected("the certificate is not one for TLS clients (extendedKeyUsage clientAuth)")
    for certificate in (leaf, *between):
        _check_validity(certificate, now_s)
    _check_chain(leaf, between, authorities(authorities_pem))
    return described(leaf, device)


def described(leaf: x509.Certificate, device: str) -> Certificate:
    """The facts of a certificate, unchecked."""
    return Certificate(
        device,
        int(leaf.not_valid_before_utc.timestamp()),
        int(leaf.not_valid_after_utc.timestamp()),
        leaf.fingerprint(hashes.SHA256()).hex(),
    )


def load(chain_pem: bytes, device: str) -> Certificate:
    """The facts of the first certificate in a file; Rejected where there is none."""
    return described(_load(chain_pem)[0], device)


def renewal_due(certificate: Certificate, now_s: int) -> bool:
    """Whether two thirds of its life are over."""
    life_s = certificate.not_after_s - certificate.not_before_s
    return now_s >= certificate.not_before_s + RENEW_AFTER * life_s


def _check_chain(
    leaf: x509.Certificate, between: list[x509.Certificate], roots: list[x509.Certificate]
) -> None:
    certificate, candidates = leaf, between
    for _ in range(CHAIN_MAX):
        if any(_issued(certificate, root) for root in roots):
            return
        issuer = next((c for c in candidates if _is_authority(c) and _issued(certificate, c)), None)
        if issuer is None:
            break
        certificate, candidates = issuer, [c for c in candidates if c is not issuer]
    raise Rejected(f"{_name(leaf)} was not issued by any of: {', '.join(map(_name, roots))}")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_validity(certificate: x509.Certificate, now_s: int) -> None:
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise Rejected(
            f"{_name(certificate)} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, and now is {now:%Y-%m-%d}"
        )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _load(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise Rejected(f"not a PEM certificate: {exc}") from exc


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a name"
