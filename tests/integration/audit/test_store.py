"""The log on a real disk: taken up again, rotated, cut, full."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edged.audit.chain import Event
from edged.audit.config import AuditConfig
from edged.audit.segments import RESERVE_BYTES, segments
from edged.audit.verdict import Kind
from edged.errors import StorageError
from tests.rig.audit.forging import Device
from tests.rig.audit.full_disk import run_small
from tests.rig.audit.stored import SMALL, Board, an_event, numbers, records, store, verify


def test_what_was_appended_is_there_and_the_next_life_goes_on_from_it(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.append([an_event(1), an_event(2)])
    first.close()
    second = store(tmp_path)
    second.append([an_event(3)])
    second.close()
    assert numbers(tmp_path) == [1, 2, 3]
    assert [record.seq for record in records(tmp_path)] == [1, 2, 3, 4]
    assert verify(tmp_path).intact


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    first = store(tmp_path)
    with pytest.raises(StorageError, match="another process writes"):
        store(tmp_path)
    first.close()
    store(tmp_path).close()


def test_the_chain_goes_on_over_files_and_the_next_life_knows_where_it_stands(tmp_path: Path) -> None:
    device, log = Device(), store(tmp_path)
    for number in range(900):
        log.append([an_event(number, "x" * 90)])
        if number % 200 == 199:
            signed = device.sign(log.checkpoint({}).payload())
            log.add_checkpoint(signed)
    standing = log.standing
    log.close()
    again = store(tmp_path)
    assert again.standing == standing
    again.close()
    assert len(segments(tmp_path)) > 2
    verdict = verify(tmp_path, device.opened)
    assert verdict.intact
    assert verdict.checkpoints == 4


def test_a_torn_tail_is_cut_to_the_last_whole_record_and_the_log_says_so(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append([an_event(1), an_event(2)])
    log.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    again = store(tmp_path)
    again.append([an_event(3)])
    again.close()
    assert numbers(tmp_path) == [1, 3]
    (cut,) = [record for record in records(tmp_path) if record.what == "audit.recovered"]
    assert cut.about["bytes"] > 50
    assert verify(tmp_path).intact


def test_whole_records_behind_a_torn_one_are_cut_and_kept_aside(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append([an_event(number) for number in range(5)])
    log.close()
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    store(tmp_path).close()
    assert len(numbers(tmp_path)) < 4
    (kept,) = tmp_path.glob("*.cut")
    assert kept.stat().st_size > 100
    assert verify(tmp_path).intact


def test_damage_that_a_checkpoint_proves_to_be_old_cuts_nothing_and_stays_evident(tmp_path: Path) -> None:
    device, log = Device(), store(tmp_path)
    for number in range(20):
        log.append([an_event(number)])
    log.add_checkpoint(device.sign(log.checkpoint({}).payload()))
    log.append([an_event(20)])
    log.close()
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    for number in (21, 22):
        again = store(tmp_path)
        again.append([an_event(number)])
        again.close()
    assert [record.what for record in records(tmp_path)].count("audit.damaged") == 1
    assert records(tmp_path)[-1].about["n"] == 22
    verdict = verify(tmp_path, device.opened)
    assert [finding.kind for finding in verdict.findings] == [Kind.DAMAGED]


def test_a_file_without_a_whole_record_is_no_obstacle(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append([an_event(1)])
    log.close()
    for name, data in (("3", b""), ("4", b"edgedAU1"), ("5", bytes(100)), ("6", b"garbage")):
        (tmp_path / f"{name:0>16}.audit").write_bytes(data)
    again = store(tmp_path)
    again.append([an_event(2)])
    again.close()
    assert numbers(tmp_path) == [1, 2]
    assert verify(tmp_path).intact


def test_the_oldest_files_go_when_there_are_too_many_and_verification_knows(tmp_path: Path) -> None:
    log = store(tmp_path)
    for number in range(700):
        log.append([an_event(number * 10 + index, "x" * 90) for index in range(10)])
    log.close()
    kept = sum(path.stat().st_size for path in segments(tmp_path))
    assert kept <= SMALL.keep_max_bytes + SMALL.segment_max_bytes
    verdict = verify(tmp_path)
    assert verdict.intact
    assert verdict.first > 1000
    segments(tmp_path)[0].unlink()
    assert [finding.kind for finding in verify(tmp_path).findings] == [Kind.REMOVED]


def test_a_clock_that_is_set_or_loses_its_trust_is_in_the_log(tmp_path: Path) -> None:
    board = Board(synced=False)
    log = store(tmp_path, board=board)
    log.append([an_event(1)])
    board.synced, board.wall_s = True, board.wall_s + 3600
    log.append([an_event(2)])
    log.close()
    assert [record.what for record in records(tmp_path)][2:] == [
        "clock.trust",
        "clock.step",
        "models_activate",
    ]
    assert [record.trusted for record in records(tmp_path)][1:3] == [False, True]


def test_an_event_too_long_for_a_record_is_recorded_by_its_hash(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append([Event("uid:1", "x" * 999, "allowed", {"text": "y" * 100_000})])
    log.close()
    (record,) = records(tmp_path)[1:]
    assert set(record.about) == {"cut", "sha256"}
    assert len(record.what) == 256


def test_on_a_full_disk_acts_are_refused_and_making_room_is_recorded_in_the_reserve(tmp_path: Path) -> None:
    run_small(tmp_path, "tests.rig.audit.full_lives:a_store")


def test_a_reserve_that_was_begun_is_given_back_by_the_next_life(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append([an_event(1)])
    log._write_reserved([an_event(2)], log._clock.now())
    assert segments(tmp_path)[-1].stat().st_size == RESERVE_BYTES
    assert verify(tmp_path).intact
    log._segment = None  # a power cut
    log.close()
    again = store(tmp_path)
    assert segments(tmp_path)[-1].stat().st_size < 4096
    assert again.reserved
    again.close()
    assert numbers(tmp_path) == [1, 2]


def test_a_config_that_could_keep_no_file_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="must hold two files"):
        msgspec.convert({"segment_max_bytes": 1 << 20, "keep_max_bytes": 1 << 20}, AuditConfig)
