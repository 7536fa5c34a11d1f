"""Every change of a log is named by the record it is in."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from edged.audit import chain
from edged.audit.chain import CHECKPOINT, MAGIC, Event
from edged.audit.verdict import Kind, Verdict
from edged.audit.verify import Verifier
from edged.clock import Instant
from tests.rig.audit.forging import Device, Written, a_log, rewritten, verified

LIE = Event("uid:0", "nothing", "happened", {})


@pytest.fixture(scope="module")
def log() -> Written:
    """1,000 records, checkpoints of the first 256, 512 and 768."""
    return a_log(1000)


def named(verdict: Verdict) -> list[tuple[str, int, int]]:
    return [(finding.kind.value, finding.first, finding.last) for finding in verdict.findings]


def test_an_untouched_log_is_intact_and_says_how_far_its_checkpoints_reach(log: Written) -> None:
    verdict = verified(log, published=log.published, anchor=log.device.anchor())
    assert verdict.intact
    assert (verdict.records, verdict.first, verdict.last, verdict.checkpoints) == (1000, 1, 1000, 3)
    assert verdict.covered == log.published[-1].seq
    assert verdict.tail == 1000 - verdict.covered < 256
    assert verdict.signatures == "checked"


def test_without_a_key_the_chain_is_held_against_its_checkpoints_and_the_verdict_says_so(
    log: Written,
) -> None:
    verdict = verified(log, signed=False)
    assert verdict.intact
    assert "not checked" in verdict.signatures


def test_a_flipped_byte_is_in_the_record_that_is_named(log: Written) -> None:
    dice = random.Random(5)  # noqa: S311 - repeatable, not secret
    ends = list(accumulate(map(len, log.frames)))
    data = b"".join(log.frames)
    for _ in range(40):
        at = dice.randrange(len(data))
        record = next(index for index, end in enumerate(ends, 1) if at < end)
        flipped = data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :]
        assert named(verified(log, flipped)) == [("damaged", record, record)]


def test_a_flipped_byte_in_the_head_of_a_file_is_named_by_its_first_record(log: Written) -> None:
    verifier = Verifier(log.device.opened)
    verifier.take("a", b"X" + MAGIC[1:] + b"".join(log.frames))
    assert named(verifier.finish()) == [("damaged", 1, 1)]


def test_a_rewritten_record_is_named_by_the_link_after_it(log: Written) -> None:
    frame, _ = chain.link(chain.State(499, log.frames[498][-32:]), LIE, Instant(1.0, True, 1.0))
    frames = [*log.frames[:499], frame, *log.frames[500:]]
    assert named(verified(log, frames)) == [("altered", 500, 500)]


@pytest.mark.parametrize("at", [0, 100, 255, 256, 400, 767])
def test_a_chain_rewritten_with_all_its_hashes_is_named_by_the_next_checkpoint(log: Written, at: int) -> None:
    frames = rewritten(log.frames, at, LIE)
    if at == 256:  # that was the checkpoint itself
        assert verified(log, frames).findings[0].kind is Kind.REPLAYED
    else:
        assert named(verified(log, frames)) == [("altered", at + 1, at + 1)]


def test_a_change_after_the_last_checkpoint_that_keeps_the_hashes_right_is_the_tail_it_warned_of(
    log: Written,
) -> None:
    covered = log.published[-1].seq
    verdict = verified(log, rewritten(log.frames, 900, LIE))
    assert verdict.intact
    assert verdict.last - verdict.tail == covered < 901


def test_a_removed_record_is_named(log: Written) -> None:
    assert named(verified(log, [*log.frames[:299], *log.frames[300:]])) == [("removed", 300, 300)]
    assert named(verified(log, log.frames[5:])) == [("removed", 1, 5)]


def test_swapped_records_are_named(log: Written) -> None:
    frames = list(log.frames)
    frames[10], frames[11] = frames[11], frames[10]
    assert named(verified(log, frames)) == [("moved", 11, 11)]
    frames = list(log.frames)
    frames[10], frames[700] = frames[700], frames[10]
    kinds = named(verified(log, frames))
    assert ("moved", 11, 11) in kinds
    assert ("removed", 12, 700) not in kinds


def test_a_record_that_stands_twice_is_named(log: Written) -> None:
    assert named(verified(log, [*log.frames[:20], log.frames[4], *log.frames[20:]])) == [("moved", 5, 5)]


def test_a_cut_tail_is_noticed_with_a_published_checkpoint_and_by_the_anchor(log: Written) -> None:
    short = log.frames[:600]
    assert named(verified(log, short, published=log.published)) == [("cut", 601, 768)]
    assert [kind for kind, *_ in named(verified(log, short, anchor=log.device.anchor()))] == ["replayed"]


def test_a_tail_cut_within_a_record_names_it(log: Written) -> None:
    data = b"".join(log.frames)
    assert named(verified(log, data[:-1])) == [("damaged", 1000, 1000)]


def test_another_log_in_the_place_of_this_one_is_noticed(log: Written) -> None:
    other = Written(log.device, bytes(16))
    other.act(900)
    assert named(verified(other, published=log.published[:1])) == [("replayed", 1, 901)]


def test_history_that_went_on_after_an_old_copy_was_restored_is_noticed(log: Written) -> None:
    restored = a_log(1000)
    restored.device = log.device
    restored.frames = log.frames[:300]
    restored.state = chain.State(300, log.frames[299][-32:])
    restored.anchor = log.device.anchor()
    restored.act(50)
    restored.check()
    assert named(verified(restored)) == [("replayed", 257, 350)]


def test_a_checkpoint_signed_by_another_key_is_named(log: Written) -> None:
    stranger = Device()
    written = Written(stranger)
    written.act(5)
    written.check()
    verifier = Verifier(log.device.opened)
    verifier.take("a", MAGIC + b"".join(written.frames))
    assert named(verifier.finish()) == [("forged", 7, 7)]


def test_a_checkpoint_record_without_a_checkpoint_is_named(log: Written) -> None:
    written = Written(log.device)
    for about in ({}, {"signed": b"\x00"}, {"signed": log.device.sign(b"\xa0")}):
        written.add(Event("edged", CHECKPOINT, "made", about))
    assert named(verified(written, signed=False)) == [("forged", 2, 2), ("forged", 3, 3), ("forged", 4, 4)]


def test_pruned_files_are_not_missed_and_more_than_were_pruned_are(log: Written) -> None:
    written = a_log(600)
    written.add(Event("edged", chain.PRUNED, "pruned", {"through": 300, "head": written.frames[299][-32:]}))
    assert verified(written, written.frames[300:]).intact
    assert named(verified(written, written.frames[310:])) == [("removed", 1, 310)]


def test_every_one_of_several_changes_is_named(log: Written) -> None:
    data = list(log.frames)
    data[99] = data[99][:10] + b"\xff" + data[99][11:]
    data[199] = b"\xff" + data[199][1:]  # its length
    del data[399]
    assert named(verified(log, data)) == [("damaged", 100, 100), ("damaged", 200, 200), ("removed", 400, 400)]
