from __future__ import annotations

import msgspec
import pytest

from edged.errors import KeysCorrupt, Rejected
from edged.keys import recovery
from edged.keys.recovery import Wrapped
from tests.rig.pki import FleetKey

KEY, OTHER = FleetKey(), FleetKey()
SECRET = bytes(range(32))
WRAPPED = recovery.wrap(SECRET, KEY.public)


def test_a_secret_opens_with_the_recovery_key_it_was_wrapped_for() -> None:
    assert recovery.unwrap(WRAPPED, KEY.private) == SECRET
    assert SECRET not in WRAPPED.content


def test_another_key_is_told_which_one_it_should_be() -> None:
    with pytest.raises(Rejected, match=WRAPPED.kid.hex()):
        recovery.unwrap(WRAPPED, OTHER.private)


def test_two_wrappings_of_one_secret_share_nothing() -> None:
    again = recovery.wrap(SECRET, KEY.public)
    assert again.ephemeral != WRAPPED.ephemeral
    assert again.content != WRAPPED.content


@pytest.mark.parametrize("field", ["ephemeral", "content"])
def test_every_flipped_byte_is_noticed(field: str) -> None:
    value: bytes = getattr(WRAPPED, field)
    for at in range(len(value)):
        flipped = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        changed: Wrapped = msgspec.structs.replace(WRAPPED, **{field: flipped})
        with pytest.raises(KeysCorrupt):
            recovery.unwrap(changed, KEY.private)


def test_the_private_half_and_other_keys_are_no_recovery_key() -> None:
    assert recovery.spki(recovery.load_public(KEY.pem)) == KEY.spki
    for pem in (KEY.private_pem, b"", b"-----BEGIN PUBLIC KEY-----\n"):
        with pytest.raises(Rejected):
            recovery.load_public(pem)
    for pem in (KEY.pem, b""):
        with pytest.raises(Rejected):
            recovery.load_private(pem)
