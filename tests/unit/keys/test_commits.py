from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import KeysCorrupt, KeysStale
from edged.keys import commits
from edged.keys.commits import Commit
from edged.keys.secret import Secret

KEY = Secret(b"k" * 32)
OLD = Commit(counter=4, revision=1, pins={"keystore": b"1" * 32})
NEW = Commit(counter=5, revision=2, pins={"keystore": b"2" * 32})
A, B = b"a" * 32, b"b" * 32


def test_before_the_first_commit_nothing_is_in_force_whatever_is_on_the_disk() -> None:
    assert commits.decide(7, b"", {}) is None
    assert commits.decide(7, b"", {A: OLD}) is None


def test_the_commit_that_the_record_names_is_in_force() -> None:
    verdict = commits.decide(5, commits.record(NEW, B), {A: OLD, B: NEW})
    assert verdict == (B, NEW, False)


def test_power_lost_before_the_record_leaves_the_old_commit_in_force() -> None:
    assert commits.decide(4, commits.record(OLD, A), {A: OLD, B: NEW}) == (A, OLD, False)


def test_power_lost_between_record_and_counter_is_made_up_for() -> None:
    assert commits.decide(4, commits.record(NEW, B), {A: OLD, B: NEW}) == (B, NEW, True)


def test_an_older_image_of_the_disk_is_refused() -> None:
    with pytest.raises(KeysStale, match="older image of the disk"):
        commits.decide(5, commits.record(NEW, B), {A: OLD})


def test_an_older_record_put_back_beside_the_older_disk_is_refused() -> None:
    with pytest.raises(KeysStale, match="an older record was put back"):
        commits.decide(5, commits.record(OLD, A), {A: OLD})


def test_a_change_that_was_staged_and_abandoned_never_comes_into_force() -> None:
    abandoned, chosen = NEW, Commit(counter=5, revision=3)
    with pytest.raises(KeysStale):
        commits.decide(5, commits.record(chosen, b"c" * 32), {A: OLD, B: abandoned})


@pytest.mark.parametrize(
    ("counter", "kept"),
    [(3, commits.record(NEW, B)), (5, b"short"), (5, commits.record(NEW, A))],
    ids=["a counter made anew", "a record cut short", "a record that means another commit"],
)
def test_a_record_that_cannot_be_right_is_corrupt(counter: int, kept: bytes) -> None:
    with pytest.raises(KeysCorrupt):
        commits.decide(counter, kept, {A: OLD, B: NEW})


counts = st.integers(0, 6)


@given(
    counts,
    st.one_of(st.just(b""), counts.map(lambda c: commits.record(Commit(counter=c), bytes([c]) * 32))),
    st.sets(counts),
)
def test_only_the_commit_of_record_and_counter_ever_starts(
    counter: int, kept: bytes, there: set[int]
) -> None:
    found = {bytes([c]) * 32: Commit(counter=c) for c in there}
    try:
        verdict = commits.decide(counter, kept, found)
    except (KeysStale, KeysCorrupt):
        return
    if verdict is None:
        assert kept == b""
    else:
        assert kept == commits.record(verdict.commit, verdict.id)
        assert verdict.commit.counter == counter + verdict.advance


@given(
    st.integers(0, 2**63),
    st.dictionaries(st.text("abc", min_size=1), st.binary(min_size=32, max_size=32)),
    st.integers(0, 2**40),
)
def test_a_commit_reads_back_as_it_was_written(counter: int, pins: dict[str, bytes], revision: int) -> None:
    commit = Commit(counter=counter, revision=revision, pins=pins)
    data = commits.encode(commit, KEY)
    assert commits.decode(data) == commit
    assert commits.authentic(data, KEY)
    assert not commits.authentic(data, Secret(b"x" * 32))


def test_every_flipped_byte_of_a_commit_is_noticed() -> None:
    data = commits.encode(NEW, KEY)
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert not commits.authentic(flipped, KEY)
        assert commits.identify(flipped) != commits.identify(data)


def test_what_is_not_a_commit_is_corrupt() -> None:
    for data in (b"", b"\x00" * 32, b"\x00" * 32 + b"\x80", b"\x00" * 40):
        with pytest.raises(KeysCorrupt):
            commits.decode(data)


def test_a_successor_keeps_what_does_not_change_and_drops_what_is_taken_out() -> None:
    before = Commit(counter=5, revision=2, pins={"keystore": A, "config": B})
    after = commits.successor(before, 5, {"config": None, "enrolment": B}, None)
    assert after == Commit(counter=6, revision=2, pins={"keystore": A, "enrolment": B})
