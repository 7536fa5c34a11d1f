from __future__ import annotations

import cbor2
import msgspec
import pytest

from edged.errors import KeysCorrupt, NotEnrolled, Rejected
from edged.keys import cose, enrolment
from edged.keys.enrolment import ANCHORS, Enrolment
from tests.rig.pki import NOW_S, FleetKey

FLEET, NEXT, STRANGER = FleetKey(), FleetKey(), FleetKey()
AWAITING = Enrolment(
    device="cam-7", anchors=(enrolment.anchor(FLEET.public),), broker_ca=b"", device_ca=b"", begun_s=NOW_S
)
ENROLLED = msgspec.structs.replace(AWAITING, enrolled_s=NOW_S)


@pytest.mark.parametrize("known", [None, AWAITING], ids=["nothing enrolled", "no certificate yet"])
def test_before_enrolment_every_bundle_is_refused(known: Enrolment | None) -> None:
    with pytest.raises(NotEnrolled, match="edged enrol"):
        enrolment.believed(known, FLEET.sign(b"config", "config"), "config")


def test_what_the_fleet_signed_is_believed() -> None:
    assert enrolment.believed(ENROLLED, FLEET.sign(b"config", "config"), "config").payload == b"config"


def test_a_stranger_another_purpose_and_nonsense_are_refused() -> None:
    for message in (STRANGER.sign(b"config", "config"), FLEET.sign(b"config", "models"), b"", b"nonsense"):
        with pytest.raises(Rejected):
            enrolment.believed(ENROLLED, message, "config")


def anchors(version: object, *keys: bytes) -> bytes:
    return FLEET.sign(cbor2.dumps([version, list(keys)]), ANCHORS)


def test_trust_anchors_are_replaced_by_one_of_those_in_force() -> None:
    after = enrolment.with_anchors(ENROLLED, anchors(2, NEXT.spki))
    assert enrolment.believed(after, NEXT.sign(b"config", "config"), "config").payload == b"config"
    with pytest.raises(Rejected, match="none of the fleet's"):
        enrolment.believed(after, FLEET.sign(b"config", "config"), "config")


@pytest.mark.parametrize(
    "message",
    [
        STRANGER.sign(cbor2.dumps([2, [STRANGER.spki]]), ANCHORS),
        FLEET.sign(cbor2.dumps([2, [NEXT.spki]]), "config"),
        anchors(1, NEXT.spki),
        anchors(2),
        anchors(2, b"no key"),
        anchors("2", NEXT.spki),
        FLEET.sign(b"\xff", ANCHORS),
    ],
    ids=["a stranger", "another purpose", "a version in force", "nobody", "no key", "no version", "no CBOR"],
)
def test_trust_anchors_are_not_replaced_by(message: bytes) -> None:
    with pytest.raises(Rejected):
        enrolment.with_anchors(ENROLLED, message)


def test_a_trust_anchor_comes_as_pem_or_as_a_cose_key() -> None:
    numbers = FLEET.public.public_numbers()
    key = {1: 2, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
    assert enrolment.load_anchor(FLEET.pem) == enrolment.load_anchor(cbor2.dumps(key)) == ENROLLED.anchors[0]
    assert ENROLLED.anchors[0].kid == cose.key_id(FLEET.spki)
    for data in (
        b"",
        b"text",
        cbor2.dumps({**key, -1: 2}),
        cbor2.dumps({**key, -2: b"short"}),
        FLEET.private_pem,
    ):
        with pytest.raises(Rejected):
            enrolment.load_anchor(data)
    with pytest.raises(Rejected, match="no point"):
        enrolment.load_anchor(cbor2.dumps({**key, -2: bytes(32)}))


def test_an_enrolment_reads_back_as_it_was_written() -> None:
    assert enrolment.decode(enrolment.encode(ENROLLED)) == ENROLLED
    for data in (b"", b"\x80", b"\xff", cbor2.dumps({"device": "UPPER"})):
        with pytest.raises(KeysCorrupt):
            enrolment.decode(data)
