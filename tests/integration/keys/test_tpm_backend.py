"""Keys in a TPM, as the vault uses them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from tpm2_pytss import ESAPI, TPM2B_PUBLIC, TPMA_OBJECT

from edged.errors import KeysCorrupt, KeysReplaced, KeysUnavailable
from edged.keys.backend import Backend, Sealed
from edged.keys.tpm.backend import TpmBackend
from edged.keys.tpm.device import handles
from edged.keys.tpm.names import p256
from edged.keys.tpm.opening import TpmSettings, open_tpm
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import DIGEST, ROOT, SECRET, enrolled, held


@pytest.fixture
def backend(tpm: Swtpm) -> Iterator[TpmBackend]:
    opened = enrolled(tpm.tcti)
    yield opened
    opened.close()


def test_it_is_a_backend(backend: TpmBackend) -> None:
    contract: Backend = backend
    assert len(contract.device) == 34


def test_a_secret_opens_again_after_a_power_cut(tpm: Swtpm, backend: TpmBackend) -> None:
    sealed = backend.seal(ROOT)
    tpm.restart()
    assert backend.unseal(sealed) == ROOT


@pytest.mark.parametrize("size", [1, 32, 120])
def test_secrets_of_every_size_open_to_themselves(backend: TpmBackend, size: int) -> None:
    assert backend.unseal(backend.seal(bytes(size))) == bytes(size)


@pytest.mark.parametrize("size", [0, 121])
def test_a_secret_that_does_not_fit_is_refused(backend: TpmBackend, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 120 bytes"):
        backend.seal(bytes(size))


def test_the_identity_signs_what_its_public_key_verifies(backend: TpmBackend) -> None:
    identity = backend.make_identity()
    signature = backend.sign(identity, DIGEST)
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = p256(backend.public_key(identity))
    key.verify(encode_dss_signature(r, s), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_every_object_is_fixed_to_its_tpm_and_outside_the_lockout(backend: TpmBackend) -> None:
    for made in (backend.make_identity(), backend.seal(ROOT)):
        public, _ = TPM2B_PUBLIC.unmarshal(made.public)
        wanted = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT | TPMA_OBJECT.NODA
        assert public.publicArea.objectAttributes & wanted == wanted


def test_two_identities_differ(backend: TpmBackend) -> None:
    assert backend.public_key(backend.make_identity()) != backend.public_key(backend.make_identity())


def test_a_public_key_needs_no_tpm(tpm: Swtpm, backend: TpmBackend) -> None:
    identity = backend.make_identity()
    known = backend.public_key(identity)
    tpm.kill()
    assert backend.public_key(identity) == known


def test_what_is_sealed_is_no_key(backend: TpmBackend) -> None:
    with pytest.raises(KeysCorrupt, match="is none"):
        backend.public_key(backend.seal(ROOT))


def test_the_counter_goes_up_and_survives_a_power_cut(tpm: Swtpm, backend: TpmBackend) -> None:
    first = backend.counter()
    assert [backend.advance(), backend.advance()] == [first + 1, first + 2]
    tpm.restart()
    assert backend.counter() == first + 2


def test_a_removed_counter_comes_back_higher(backend: TpmBackend) -> None:
    high = backend.advance()
    backend.forget()
    assert backend.counter() > high


def test_a_counter_that_was_defined_and_never_counted_is_finished(tpm: Swtpm, backend: TpmBackend) -> None:
    backend._counter._index.use(backend._shown(), lambda *_: None)
    assert backend.counter() > 0


def test_the_record_is_empty_then_what_was_written_last(tpm: Swtpm, backend: TpmBackend) -> None:
    assert backend.record() == b""
    backend.set_record(b"a" * 40)
    backend.set_record(b"b" * 40)
    tpm.restart()
    assert backend.record() == b"b" * 40


def test_a_record_of_another_size_is_refused(backend: TpmBackend) -> None:
    with pytest.raises(ValueError, match="40 bytes"):
        backend.set_record(b"a" * 39)


def test_the_anchor_is_a_hash_chain(tpm: Swtpm, backend: TpmBackend) -> None:
    assert backend.anchor() == bytes(32)
    first = hashlib.sha256(bytes(32) + DIGEST).digest()
    assert backend.extend(DIGEST) == first == backend.anchor()
    tpm.restart()
    assert backend.extend(DIGEST) == hashlib.sha256(first + DIGEST).digest() == backend.anchor()


def test_everything_may_be_read_without_the_secret_and_nothing_written(
    tpm: Swtpm, backend: TpmBackend
) -> None:
    backend.set_record(b"a" * 40)
    count, anchor = backend.counter(), backend.extend(DIGEST)
    stranger = open_tpm(TpmSettings(tcti=tpm.tcti))
    assert (stranger.counter(), stranger.record(), stranger.anchor()) == (count, b"a" * 40, anchor)
    with pytest.raises(KeysUnavailable, match="not shown"):
        stranger.set_record(b"b" * 40)
    stranger.close()


def test_before_the_secret_is_shown_reading_makes_nothing(tpm: Swtpm) -> None:
    stranger = open_tpm(TpmSettings(tcti=tpm.tcti))
    assert (stranger.counter(), stranger.record(), stranger.anchor()) == (0, b"", bytes(32))
    assert not index_handles(tpm)
    stranger.close()


def test_another_enrolments_secret_writes_signs_and_counts_nothing(tpm: Swtpm, backend: TpmBackend) -> None:
    backend.set_record(b"a" * 40)
    backend.extend(DIGEST)
    identity, count, anchor = backend.make_identity(), backend.counter(), backend.anchor()
    thief = enrolled(tpm.tcti)
    thief.authorise(b"another secret of 32 random bytes")
    for attempt in (
        lambda: thief.set_record(b"b" * 40),
        lambda: thief.extend(DIGEST),
        lambda: thief.sign(identity, DIGEST),
        thief.advance,
    ):
        with pytest.raises(KeysReplaced, match="another enrolment"):
            attempt()
    thief.close()
    assert (backend.counter(), backend.record(), backend.anchor()) == (count, b"a" * 40, anchor)


def test_a_new_enrolment_begins_where_the_last_ones_secret_is_gone(tpm: Swtpm, backend: TpmBackend) -> None:
    backend.set_record(b"a" * 40)
    high = backend.counter()
    again = enrolled(tpm.tcti)
    again.authorise(b"the secret of the new enrolment!")
    again.forget()
    assert (again.record(), again.anchor()) == (b"", bytes(32))
    assert again.counter() > high
    again.close()


def test_a_closed_backend_has_forgotten_the_secret(backend: TpmBackend) -> None:
    identity = backend.make_identity()
    backend.close()
    with pytest.raises(KeysUnavailable, match="not shown"):
        backend.sign(identity, DIGEST)
    backend.authorise(SECRET)
    assert backend.sign(identity, DIGEST)


def test_the_root_key_is_made_once_and_then_found(tpm: Swtpm, backend: TpmBackend) -> None:
    name = backend.device
    tpm.restart()
    assert backend.device == name == enrolled(tpm.tcti, pinned=name).device


def test_two_hundred_openings_leave_every_slot_and_descriptor_free(tpm: Swtpm, backend: TpmBackend) -> None:
    sealed, identity = backend.seal(ROOT), backend.make_identity()
    backend.close()
    before = descriptors()
    for _ in range(200):
        backend.unseal(sealed)
        backend.close()
    backend.authorise(SECRET)
    backend.sign(identity, DIGEST)
    backend.close()
    assert descriptors() == before
    assert held(tpm.tcti) == []


def test_openings_that_fail_leave_no_descriptor(tpm: Swtpm, backend: TpmBackend) -> None:
    tpm.stop()
    before = descriptors()
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            backend.seal(ROOT)
    assert descriptors() == before


def test_a_blob_cut_short_or_lengthened_is_corrupt(backend: TpmBackend) -> None:
    sealed = backend.seal(ROOT)
    for public, private in (
        (sealed.public[:-1], sealed.private),
        (sealed.public, sealed.private[:20]),
        (sealed.public + b"\0", sealed.private),
        (b"", sealed.private),
    ):
        with pytest.raises(KeysCorrupt):
            backend.unseal(Sealed(public=public, private=private, parent=sealed.parent))


def descriptors() -> int:

    return len(os.listdir("/proc/self/fd"))


def index_handles(tpm: Swtpm) -> list[int]:

    with ESAPI(tpm.tcti) as esapi:
        return [handle for handle in handles(esapi, 0x01000000) if handle >> 24 == 1]
