from __future__ import annotations

import hashlib
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cwt import COSE, COSEKey

from edged.errors import Rejected
from edged.keys import cose

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SPKI = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
KID = cose.key_id(SPKI)
PAYLOAD = b"a config"
ES256 = {1: -7, 4: KID}


def raw_sign(digest: bytes) -> bytes:
    r, s = decode_dss_signature(PRIVATE.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def message(purpose: str = "config", content_type: str | None = None) -> bytes:
    return cose.sign1(raw_sign, PAYLOAD, kid=KID, purpose=purpose, content_type=content_type)


def forged(header: Any = None, unprotected: Any = None, payload: Any = PAYLOAD, *, tag: int = 18) -> bytes:
    """A message of any form, whose signature is right for what it says."""
    protected = header if isinstance(header, bytes) else cbor2.dumps(ES256 if header is None else header)
    tbs = cbor2.dumps(["Signature1", protected, cose.aad("config"), payload])
    parts = [
        protected,
        {} if unprotected is None else unprotected,
        payload,
        raw_sign(hashlib.sha256(tbs).digest()),
    ]
    return cbor2.dumps(cbor2.CBORTag(tag, parts))


def test_what_was_signed_verifies_and_names_its_key_and_type() -> None:
    signed = cose.verify1(SPKI, message(content_type="application/cbor"), purpose="config")
    assert signed == (KID, "application/cbor", PAYLOAD)
    assert cose.signer_of(message()) == KID


def test_cwt_verifies_what_we_sign() -> None:
    key = COSEKey.from_pem(
        PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), kid=KID
    )
    assert COSE.new().decode(message(), key, external_aad=cose.aad("config")) == PAYLOAD


def test_we_verify_what_cwt_signs() -> None:
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = COSE.new().encode_and_sign(
        PAYLOAD, COSEKey.from_pem(pem, kid=KID), protected=ES256, external_aad=cose.aad("config")
    )
    assert cose.verify1(SPKI, made, purpose="config").payload == PAYLOAD


def test_a_message_signed_for_one_purpose_is_worthless_for_another() -> None:
    with pytest.raises(Rejected, match="for audit"):
        cose.verify1(SPKI, message("config"), purpose="audit")


def test_another_key_is_refused_by_name() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Rejected, match="signed by key"):
        cose.verify1(
            other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), message(), purpose="config"
        )


def test_a_key_that_is_not_p256_is_never_used() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    spki = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(Rejected, match="P-256"):
        cose.verify1(spki, forged({1: -7, 4: cose.key_id(spki)}), purpose="config")


def test_every_flipped_byte_is_refused() -> None:
    whole = message()
    for at in range(len(whole)):
        for bit in (1, 0x80):
            with pytest.raises(Rejected):
                cose.verify1(SPKI, whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :], purpose="config")


def test_every_cut_and_any_addition_is_refused() -> None:
    whole = message()
    for data in [*(whole[:length] for length in range(len(whole))), whole + b"\x00"]:
        with pytest.raises(Rejected):
            cose.verify1(SPKI, data, purpose="config")


TRICKS = {
    "an algorithm the header picks": forged({1: -8, 4: KID}),
    "no algorithm": forged({4: KID}),
    "an algorithm as a float": forged({1: -7.0, 4: KID}),
    "a critical header": forged({**ES256, 2: [99], 99: 1}),
    "a key name that is text": forged({1: -7, 4: "kid"}),
    "a content type that is a number": forged({**ES256, 3: 60}),
    "an unprotected header": forged(unprotected={4: KID}),
    "an unprotected header that is no map": forged(unprotected=[]),
    "a detached payload": forged(payload=None),
    "a text payload": forged(payload="text"),
    "another tag": forged(tag=17),
    "two tags": cbor2.dumps(cbor2.CBORTag(18, cbor2.CBORTag(18, []))),
    "no tag": forged()[1:],
    "a tag inside": forged(unprotected={1: cbor2.CBORTag(2, b"1")}),
    "a key twice in the header": forged(b"\xa3\x01\x26\x01\x26\x04\x48" + KID),
    "a header of indefinite length": forged(b"\xbf\x01\x26\x04\x48" + KID + b"\xff"),
    "an array of five": cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"", b"", b""])),
    "no array": cbor2.dumps(cbor2.CBORTag(18, {1: 2})),
    "a short signature": cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(ES256), {}, PAYLOAD, b"1" * 63])),
    "a signature of zeros": cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(ES256), {}, PAYLOAD, bytes(64)])),
    "a bomb of nested arrays": b"\xd2" + b"\x81" * 500 + b"\x80",
    "nothing": b"",
    "more than a message may have": b"\xd2" + bytes(2 << 20),
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_a_trick_is_refused(trick: bytes) -> None:
    with pytest.raises(Rejected):
        cose.verify1(SPKI, trick, purpose="config")


def test_a_message_without_tricks_that_this_test_makes_itself_is_accepted() -> None:
    assert cose.verify1(SPKI, forged(), purpose="config").payload == PAYLOAD


SECRET, NONCE = b"s" * 32, b"n" * 12


def test_what_was_encrypted_opens_for_its_key_name_and_purpose_alone() -> None:
    sealed = cose.encrypt0(SECRET, NONCE, PAYLOAD, kid=KID, purpose="export")
    assert cose.decrypt0(SECRET, sealed, kid=KID, purpose="export") == PAYLOAD
    for key, kid, purpose in (
        (b"x" * 32, KID, "export"),
        (SECRET, b"other", "export"),
        (SECRET, KID, "recovery"),
    ):
        with pytest.raises(Rejected):
            cose.decrypt0(key, sealed, kid=kid, purpose=purpose)


def test_cwt_opens_what_we_encrypt() -> None:
    sealed = cose.encrypt0(SECRET, NONCE, PAYLOAD, kid=KID, purpose="export")
    key = COSEKey.from_symmetric_key(SECRET, alg="A256GCM", kid=KID)
    assert COSE.new().decode(sealed, key, external_aad=cose.aad("export")) == PAYLOAD


def test_every_flipped_byte_of_an_encrypted_message_is_refused() -> None:
    whole = cose.encrypt0(SECRET, NONCE, PAYLOAD, kid=KID, purpose="export")
    for at in range(len(whole)):
        with pytest.raises(Rejected):
            cose.decrypt0(
                SECRET, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], kid=KID, purpose="export"
            )
