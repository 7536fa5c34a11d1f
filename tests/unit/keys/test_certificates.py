from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from edged.errors import Rejected
from edged.keys import certificates, recovery
from tests.rig.pki import DAY_S, NOW_S, Authority

FLEET = Authority()
KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = recovery.spki(KEY.public_key())
REQUEST = certificates.request(KEY, "cam-7")


def checked(
    chain: bytes, authorities: bytes = FLEET.pem, *, spki: bytes = SPKI, now_s: int = NOW_S
) -> certificates.Certificate:
    return certificates.check(chain, authorities, spki=spki, device="cam-7", now_s=now_s)


def test_a_certificate_that_was_asked_for_is_accepted() -> None:
    found = checked(FLEET.issue(REQUEST))
    assert (found.device, found.not_after_s) == ("cam-7", NOW_S + 90 * DAY_S)


def test_a_certificate_through_an_intermediate_is_accepted_with_it_and_refused_without() -> None:
    between = Authority("intermediate", FLEET)
    chain = between.issue(REQUEST)
    assert checked(chain).device == "cam-7"
    with pytest.raises(Rejected, match="was not issued by"):
        checked(chain[: chain.index(b"-----END CERTIFICATE-----") + 26])


def test_an_intermediate_that_is_no_authority_issues_nothing() -> None:
    with pytest.raises(Rejected, match="was not issued by"):
        checked(Authority("not an authority", FLEET, ca=False).issue(REQUEST))


OTHER = recovery.spki(ec.generate_private_key(ec.SECP256R1()).public_key())


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (Authority("stranger").issue(REQUEST), "was not issued by"),
        (Authority().issue(REQUEST), "was not issued by"),  # of the same name
        (FLEET.issue(REQUEST, name="cam-8"), "is for cam-8"),
        (FLEET.issue(REQUEST, usage=[ExtendedKeyUsageOID.SERVER_AUTH]), "TLS clients"),
        (FLEET.issue(REQUEST, until_s=NOW_S - 60), "valid from"),
        (FLEET.issue(REQUEST, from_s=NOW_S + 60), "valid from"),
        (b"no certificate", "not a PEM certificate"),
        (b"", "not a PEM certificate"),
    ],
)
def test_a_certificate_that_is_not_right_is_refused_by_its_reason(chain: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        checked(chain)


def test_a_certificate_for_another_key_is_refused() -> None:
    with pytest.raises(Rejected, match="another key"):
        checked(FLEET.issue(REQUEST), spki=OTHER)


def test_a_file_of_authorities_has_authorities_alone() -> None:
    with pytest.raises(Rejected, match="no certificate authority"):
        certificates.authorities(FLEET.issue(REQUEST))


def test_renewal_is_due_once_two_thirds_of_its_life_are_over() -> None:
    found = checked(FLEET.issue(REQUEST, from_s=NOW_S - 60 * DAY_S, until_s=NOW_S + 30 * DAY_S))
    assert certificates.renewal_due(found, NOW_S)
    assert not certificates.renewal_due(found, NOW_S - 1)
