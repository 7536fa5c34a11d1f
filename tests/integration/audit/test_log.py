"""The log of a running daemon: what waits for the disk, what the device vouches for, and what happens when it cannot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edged.audit.chain import Checkpoint, Event
from edged.audit.checkpoints import Checkpoints
from edged.audit.config import AuditConfig
from edged.audit.log import WAITING_MAX, Log
from edged.audit.recorder import Notes, Recorder
from edged.audit.segments import segments
from edged.audit.verdict import Kind
from edged.errors import KeysUnavailable
from edged.mcp.catalog import Principal, Tier
from edged.tools.audit import resource
from tests.rig.audit import forging
from tests.rig.audit.full_disk import run_small
from tests.rig.audit.stored import SMALL, Board, an_event, numbers, records, store, verify
from tests.rig.running import pass_time, running

ADA = Principal("uid:1000", (), Tier.OPERATOR)
OFTEN = AuditConfig(batch_ms=0, checkpoint_records=4, segment_max_bytes=65_536, keep_max_bytes=1_048_576)


class Keys:
    """A device's keys, which may be away."""

    def __init__(self) -> None:
        self.device = forging.Device()
        self.away = False

    async def sign(self, purpose: str, payload: bytes) -> bytes:
        assert purpose == "audit"
        self._look()
        return self.device.sign(payload)

    async def extend(self, digest: bytes) -> bytes:
        self._look()
        return self.device.extend(digest)

    async def anchor(self) -> bytes:
        return self.device.anchor()

    def _look(self) -> None:
        if self.away:
            raise KeysUnavailable("the TPM does not answer")


class Sent:
    """An outbox that keeps what is put in."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, bytes] = {}
        self.arrived = asyncio.Event()

    async def put(self, checkpoint_id: str, signed: bytes) -> None:
        self.checkpoints[checkpoint_id] = signed
        self.arrived.set()


@asynccontextmanager
async def opened(
    directory: Path, config: AuditConfig = SMALL, board: Board | None = None
) -> AsyncIterator[Log]:
    log = Log(directory, config, (board or Board()).clock())
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def vouching(log: Log, keys: Keys, sent: Sent | None = None) -> Checkpoints:
    checkpoints = Checkpoints(log, sent)
    checkpoints.attach(keys)
    return checkpoints


@running
async def test_an_act_is_on_the_disk_when_it_may_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.act(an_event(1))
        assert numbers(tmp_path) == [1]


@running
async def test_acts_that_wait_together_are_written_together_in_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await asyncio.gather(*(log.act(an_event(number)) for number in range(200)))
    assert numbers(tmp_path) == list(range(200))
    assert verify(tmp_path).intact


@running
async def test_a_note_holds_up_nobody_and_is_written_soon(tmp_path: Path) -> None:
    async with opened(tmp_path, OFTEN) as log:
        log.note(an_event(1))
        await log.grown()
        assert numbers(tmp_path) == [1]


@running
async def test_notes_of_other_threads_are_written_and_those_of_the_last_moment_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await asyncio.to_thread(log.note, an_event(1))
    assert numbers(tmp_path) == [1]


@running
async def test_an_act_given_up_while_it_waits_is_recorded_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        act = asyncio.get_running_loop().create_task(log.act(an_event(1)))
        await asyncio.sleep(0)
        act.cancel()
        with pytest.raises(asyncio.CancelledError):
            await act
    assert numbers(tmp_path) == [1]


@running
async def test_a_flood_is_counted_and_what_was_dropped_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for number in range(WAITING_MAX + 5):
            log.note(an_event(number))
        await log.act(an_event(-1))
    (lost,) = [record for record in records(tmp_path) if record.what == "audit.lost"]
    assert lost.about == {"records": 5}


@running
async def test_who_is_refused_again_and_again_is_recorded_once_and_counted(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        recorder = Recorder(log)
        for _ in range(100):
            recorder.refused(ADA, "models_remove", "act is below operator")
    first, counted = records(tmp_path)[1:]
    assert (first.decision, first.about) == ("refused", {"why": "act is below operator"})
    assert counted.about["times"] == 99


def test_on_a_full_disk_an_act_raises_one_that_makes_room_does_not_and_a_note_is_counted(
    tmp_path: Path,
) -> None:
    run_small(tmp_path, "tests.rig.audit.full_lives:a_log")


def test_room_is_made_even_where_no_record_of_it_fits_and_the_record_follows(tmp_path: Path) -> None:
    run_small(tmp_path, "tests.rig.audit.full_lives:a_used_up_reserve")


@running
async def test_enough_records_make_a_checkpoint_signed_anchored_and_published(tmp_path: Path) -> None:
    keys, sent = Keys(), Sent()
    async with opened(tmp_path, OFTEN) as log:
        checkpoints = vouching(log, keys, sent)
        async with asyncio.TaskGroup() as group:
            service = group.create_task(checkpoints.run())
            for number in range(8):
                await log.act(an_event(number))
            await sent.arrived.wait()
            service.cancel()
        assert checkpoints.status().tail <= 4
    verdict = verify(tmp_path, keys.device.opened, anchor=keys.device.anchor())
    assert verdict.intact
    assert verdict.covered > 0
    assert all(keys.device.opened(signed) for signed in sent.checkpoints.values())


@running
async def test_a_lone_record_is_vouched_for_after_a_minute(tmp_path: Path) -> None:
    keys, sent = Keys(), Sent()
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys, sent)
        await log.act(an_event(1))
        async with asyncio.TaskGroup() as group:
            service = group.create_task(checkpoints.run())
            await sent.arrived.wait()  # the first life's tail is vouched for at once
            sent.arrived.clear()
            await log.act(an_event(2))
            covered = checkpoints.status().covered
            pass_time(60.0)
            await sent.arrived.wait()
            service.cancel()
        assert checkpoints.status().covered > covered


@running
async def test_what_was_only_counted_is_in_the_checkpoint(tmp_path: Path) -> None:
    keys, sent = Keys(), Sent()
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys, sent)
        recorder = Recorder(log)
        for _ in range(3):
            recorder.called(ADA, "infer_face")
        await recorder.started(version="1")
        await checkpoints.make()
        await recorder.stopping("SIGTERM")
        await checkpoints.make()
    payloads = [Checkpoint.read(keys.device.opened(signed)) for signed in sent.checkpoints.values()]
    assert [payload.counts for payload in payloads] == [{"infer_face": 3}, {}]


@running
async def test_calls_are_recorded_where_the_config_wants_it(tmp_path: Path) -> None:
    async with opened(tmp_path, AuditConfig(inference="calls")) as log:
        Recorder(log).called(ADA, "infer_face")
    assert [record.what for record in records(tmp_path)] == ["audit.segment", "infer_face"]


@running
async def test_keys_that_are_away_leave_a_tail_that_is_vouched_for_when_they_return(tmp_path: Path) -> None:
    keys = Keys()
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys)
        await log.act(an_event(1))
        keys.away = True
        with pytest.raises(KeysUnavailable):
            await checkpoints.make()
        await log.act(an_event(2))
        assert checkpoints.status().tail == 3
        keys.away = False
        await checkpoints.make()
        assert checkpoints.status().tail == 1
    assert verify(tmp_path, keys.device.opened, anchor=keys.device.anchor()).intact


@running
async def test_a_checkpoint_in_the_log_and_not_in_the_anchor_is_folded_in_by_the_next_life(
    tmp_path: Path,
) -> None:
    keys = Keys()
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys)
        await log.act(an_event(1))
        before = keys.device.value
        await checkpoints.make()
    keys.device.value = before  # the power went before the TPM had it
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys)
        await log.act(an_event(2))
        await checkpoints.make()
        assert checkpoints.status().anchor == "in step"
    assert verify(tmp_path, keys.device.opened, anchor=keys.device.anchor()).intact


@running
async def test_an_older_copy_of_the_log_is_noticed_by_the_anchor_told_and_stays_evident(
    tmp_path: Path,
) -> None:
    keys = Keys()
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys)
        for number in range(3):
            await log.act(an_event(number))
            await checkpoints.make()
            if number == 0:
                (copy,) = [path.read_bytes() for path in segments(tmp_path)]
    segments(tmp_path)[0].write_bytes(copy)
    async with opened(tmp_path) as log:
        checkpoints = vouching(log, keys)
        await log.act(an_event(9))
        await checkpoints.make()
        assert checkpoints.status().anchor == "mismatch"
    assert "audit.anchor" in [record.what for record in records(tmp_path)]
    findings = verify(tmp_path, keys.device.opened, anchor=keys.device.anchor()).findings
    assert [finding.kind for finding in findings] == [Kind.REPLAYED]


@running
async def test_the_last_records_are_there_to_be_shown(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for number in range(10):
            log.note(an_event(number))
        shown = await log.tail(3)
    assert [record.about["n"] for record in shown] == [7, 8, 9]


@running
async def test_operators_read_the_last_records_and_how_the_log_is(tmp_path: Path) -> None:
    async with opened(tmp_path, board=Board(wall_s=1e13)) as log:
        checkpoints = vouching(log, Keys())
        await log.act(Event("uid:1", "models_add", "allowed", {"hash": b"\x01\xff", "list": [b"\x02"]}))
        await checkpoints.make()
        offered = resource(log, checkpoints)
        document = json.loads(await offered.read(None))  # type: ignore[arg-type, misc]  # it asks nothing of the call
    assert offered.tier is Tier.OPERATOR
    assert document["status"]["anchor"] == "in step"
    assert document["status"]["tail"] == 1
    assert [record["what"] for record in document["records"]] == [
        "audit.segment",
        "models_add",
        "audit.checkpoint",
    ]
    assert document["records"][1]["about"] == {"hash": "01ff", "list": ["02"]}
    assert document["records"][1]["time"].startswith("9999-12-31")


@running
async def test_arguments_are_recorded_redacted(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await Recorder(log).act(ADA, "models_add", {"manifest": "m" * 500, "name": "face"}, frees=False)
        Recorder(log).acted(ADA, "models_add", "BadModel")
        Recorder(log).note("keys.sign", {"purpose": "tls"})
        Recorder(log).limits_changed("nominal", "warm", "heat", "cpu 70 °C")
    _, act, failed, key, limits = records(tmp_path)
    assert (act.who, act.what, act.decision) == ("uid:1000", "models_add", "allowed")
    assert act.about["manifest"]["bytes"] == 500
    assert (failed.decision, failed.about) == ("failed", {"error": "BadModel"})
    assert (key.what, key.decision, key.about) == ("keys.sign", "used", {"purpose": "tls"})
    assert limits.about["after"] == "warm"


@running
async def test_what_the_keys_do_is_on_the_disk_before_its_effect(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await asyncio.to_thread(Recorder(log).note, "keys.rotate", {"epoch": 2})
        assert records(tmp_path)[-1].what == "keys.rotate"


def test_a_command_notes_what_it_does_without_a_daemon(tmp_path: Path) -> None:
    log = store(tmp_path)
    Notes(log, "uid:0").note("keys.init", {"mode": "preferred"})
    log.close()
    assert (records(tmp_path)[-1].who, records(tmp_path)[-1].about) == ("uid:0", {"mode": "preferred"})


def test_an_event_is_what_it_is_told() -> None:
    assert Event("a", "b", "c").about == {}
