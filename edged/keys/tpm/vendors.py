"""Whether a vendor of TPMs vouches for a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from edged.files import read_capped

E = TypeVar("E", bound=x509.ExtensionType)

_DEPTH: Final = 5
_FILE_BYTES: Final = 64 * 1024
_EK_CERTIFICATE: Final = x509.ObjectIdentifier("2.23.133.8.1")  # TCG EK Credential Profile, 3.2.16


def known(folder: Path) -> list[x509.Certificate]:
    """The vendors' certificates in a folder, PEM or DER: self-signed ones are roots, others lead to them.

    Raises ValueError for a file that is none, and as `edged.files.read_capped`.
    """
    return [one for path in sorted(folder.iterdir()) if path.is_file() for one in _certificates(path)]


def endorsement(data: bytes) -> x509.Certificate:
    """The certificate in a TPM's NV index, which may be longer than it. Raises ValueError."""
    if data[:1] != b"\x30" or len(data) < 4 or data[1] != 0x82:  # a SEQUENCE of 256 bytes or more
        raise ValueError("no certificate")
    return x509.load_der_x509_certificate(data[: 4 + int.from_bytes(data[2:4], "big")])


def vouched(certificate: x509.Certificate, vendors: Sequence[x509.Certificate]) -> bool:
    """Whether it is an endorsement certificate that leads to a root among `vendors`.

    Dates are not looked at: who made a chip does not expire, and a board may not know the time yet.
    """
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if (usage is not None and _EK_CERTIFICATE not in usage) or _is_authority(certificate):
        return False
    return _leads_to_root(certificate, vendors, _DEPTH)


def _leads_to_root(certificate: x509.Certificate, vendors: Sequence[x509.Certificate], depth: int) -> bool:
    issuers = [one for one in vendors if _is_authority(one) and _issued(certificate, by=one)]
    return any(
        _issued(one, by=one) or (depth > 1 and _leads_to_root(one, vendors, depth - 1)) for one in issuers
    )


def _issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _certificates(path: Path) -> list[x509.Certificate]:
    data = read_capped(path, _FILE_BYTES)
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]
