"""The spool on a real SQLite file, with a broker in memory and time that runs on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from edged.errors import BadArgument, StorageError, TooLarge
from edged.links.mqtt.values import Publication
from edged.links.spool.config import SpoolConfig
from edged.links.spool.values import Kind, Record
from tests.rig.fastloop import run_fast
from tests.rig.powercut import record as recorded
from tests.rig.spool_desk import HOUR_S, desk, fleet, record


def test_what_was_put_arrives_in_order_of_kind_and_then_of_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            for n, kind in enumerate([Kind.TELEMETRY, Kind.AUDIT, Kind.ALERT, Kind.CONFIG] * 3):
                await d.spool.put(record(f"{kind}-{n}", kind))
            assert await d.drain() == [
                "alert-2", "alert-6", "alert-10", "config-3", "config-7", "config-11",
                "audit-1", "audit-5", "audit-9", "telemetry-0", "telemetry-4", "telemetry-8",
            ]  # fmt: skip
            assert d.left() == 0

    run_fast(main())


def test_what_was_put_is_there_after_a_restart_and_an_id_is_stored_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("a"), record("b"), record("a"))
            await d.spool.put(record("b"))
            await d.restart()
            assert await d.drain() == ["a", "b"]

    run_fast(main())


def test_puts_that_come_together_share_transactions(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("first"))
            await asyncio.gather(*(d.spool.put(record(f"r{n}")) for n in range(500)))
            assert d.left() == 501
            assert d.spool._commits.groups <= 4

    run_fast(main())


def test_a_producer_that_gives_up_waiting_takes_no_other_record_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("first"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await d.spool.put(record("impatient"))
            await d.spool.put(record("patient"))
            assert (await d.drain())[-1] == "patient"

    run_fast(main())


def test_end_to_end_a_record_is_kept_until_the_fleet_manager_has_it_and_sent_again_after_each_connect(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path, ack="end-to-end") as d:
            d.broker.fleet = False
            await d.spool.put(record("a"), record("b"), record("c", Kind.TELEMETRY))
            assert await d.drain(60) == ["a", "b", "c"]
            assert d.left() == 2
            assert await d.drain(60) == ["a", "b"]
            await d.restart()
            assert await d.drain(60) == ["a", "b"]
            d.spool.received(fleet("b", "unheard-of"))
            assert await d.drain(60) == ["a"]
            d.broker.fleet = True
            await d.drain(60)
            assert d.left() == 0

    run_fast(main())


def test_what_the_fleet_manager_has_not_acknowledged_is_sent_again_now_and_then_slowly(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path, ack="end-to-end", resend_s=900, resend_hz=0.5) as d:
            d.broker.fleet = False
            await d.spool.put(*(record(f"r{n}") for n in range(100)))
            names = await d.drain(950)
            assert names[:100] == [f"r{n}" for n in range(100)]
            again = names[100:]
            assert again == [f"r{n}" for n in range(len(again))]
            assert 16 <= len(again) <= 45, "a window, and then one every two seconds"

    run_fast(main())


@pytest.mark.parametrize(
    "forged",
    [
        Publication(topic="edged/v1/dev/dn/ack", payload=b'{"ids":["a"]}', retain=True),
        Publication(topic="edged/v1/dev/dn/other", payload=b'{"ids":["a"]}'),
        Publication(topic="edged/v1/dev/dn/ack", payload=b"not JSON"),
    ],
)
def test_an_acknowledgement_that_is_retained_elsewhere_or_malformed_is_ignored(
    tmp_path: Path, forged: Publication
) -> None:
    async def main() -> None:
        async with desk(tmp_path, ack="end-to-end") as d:
            d.broker.fleet = False
            await d.spool.put(record("a"))
            await d.drain(10)
            d.spool.received(forged)
            await d.spool.put(record("b"))
            assert d.left() == 2

    run_fast(main())


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, ack="end-to-end") as d:
            await d.spool.put(record("a"))
            d.spool.received(fleet("a"))
            await d.spool.put(record("b"))
            assert d.left() == 2

    run_fast(main())


def test_under_the_brokers_word_what_was_sent_end_to_end_goes_once_more_and_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, ack="end-to-end") as d:
            d.broker.fleet = False
            await d.spool.put(record("a"))
            await d.drain(10)
            await d.restart(SpoolConfig(ack="broker"))
            assert d.spool.subscriptions() == ()
            assert await d.drain(10) == ["a"]
            assert d.left() == 0
            assert d.spool.status().acknowledged_by.startswith("broker: what it takes and forgets is lost")

    run_fast(main())


def test_what_the_broker_refuses_is_kept_and_holds_up_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("a"))
            d.broker.code = 0x87
            assert await d.drain(5) == []
            assert d.spool.status().refused == {"0x87": 1}
            d.broker.code = 0
            await d.spool.put(record("b"))
            assert await d.drain(5) == ["b"]
            assert await d.drain(700) == ["a"]

    run_fast(main())


def test_the_days_bytes_hold_telemetry_until_tomorrow_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(
            tmp_path, daily_bytes=65_536, batch_max=10, batch_s=0, compress_min_bytes=1 << 30
        ) as d:
            loop = asyncio.get_running_loop()
            noon_s = 20_000 * 86_400.0 + 43_200 - loop.time()
            d.spool._now_s = lambda: noon_s + loop.time()
            filling = msgspec.json.encode("x" * 1000)
            await d.spool.put(*(record(f"t{n}", Kind.TELEMETRY, filling) for n in range(100)))
            first = await d.drain(600)
            assert 40 < len(first) < 65
            assert d.spool.status().spent_bytes <= 65_536
            assert d.spool.status().held_by == "the day's bytes are spent"
            await d.spool.put(*(record(f"a{n}", payload=filling) for n in range(70)))
            assert len(await d.drain(600)) == 70
            await d.restart()
            d.spool._now_s = lambda: noon_s + loop.time()
            assert await d.drain(600) == []
            assert len(first) + len(await d.drain(12 * HOUR_S)) == 100

    run_fast(main())


def test_telemetry_that_overflows_while_it_is_held_is_reported_now_and_then_and_not_sample_by_sample(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with (
            desk(tmp_path, daily_bytes=65_536, budget_bytes=262_144, compress_min_bytes=1 << 30) as d,
            d.running(),
        ):
            for n in range(720):
                await d.spool.put(record(f"t{n}", Kind.TELEMETRY, b'"%s"' % (b"x" * 2000)))
                await asyncio.sleep(10)
            await asyncio.sleep(700)
            reports = [msgspec.json.decode(item.payload) for item in d.arrived if item.id.startswith("gap-")]
            assert 5 <= len(reports) <= 13
            assert sum(report["count"] for report in reports) == d.spool.status().lost["evicted"]
            for before, after in pairwise(reports):
                assert before["last_seq"] < after["first_seq"]

    run_fast(main())


def test_samples_travel_together_and_a_full_batch_does_not_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, batch_s=60, batch_max=10) as d:
            async with d.running() as broker:
                for n in range(18):
                    await d.spool.put(record(f"t{n}", Kind.TELEMETRY))
                    await asyncio.sleep(10)
                messages = len(broker.messages)
                await d.spool.put(*(record(f"u{n}", Kind.TELEMETRY) for n in range(10)))
                await asyncio.sleep(1)
                assert len(broker.messages) > messages, "without waiting for the minute"
            assert 3 <= messages <= 4

    run_fast(main())


def test_telemetry_past_its_lifetime_goes_and_is_reported_however_the_clock_jumps(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, telemetry_ttl_s=3 * HOUR_S) as d:
            await d.spool.put(record("t0", Kind.TELEMETRY))
            d.wall_s += 1e9
            running = asyncio.get_running_loop().create_task(d.spool.run())
            await asyncio.sleep(2 * HOUR_S)
            assert d.left() == 1
            await asyncio.sleep(2 * HOUR_S)
            running.cancel()
            assert (d.left(), d.spool.status().lost) == (0, {"expired": 1})
            assert await d.drain() == [f"gap-{d.spool.status().spool}-expired-1-1"]

    run_fast(main())


def test_what_must_not_be_lost_is_refused_rather_than_dropped_when_the_budget_is_spent(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path, budget_bytes=262_144) as d:
            puts = [d.spool.put(record(f"a{n}", payload=b"x" * 1000)) for n in range(300)]
            refused = [
                str(each) for each in await asyncio.gather(*puts, return_exceptions=True) if each is not None
            ]
            assert {text.partition("are taken")[2] for text in refused} == {
                " by what must not be lost and has not arrived"
            }
            await d.spool.put(record("audit", Kind.AUDIT))
            taken = d.left()
            assert 150 < taken < 262
            assert len(await d.drain()) == taken

    run_fast(main())


def test_a_record_that_is_too_long_or_not_what_it_says_is_refused_and_nothing_of_its_put_is_kept(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path, record_max_bytes=1024) as d:
            with pytest.raises(TooLarge):
                await d.spool.put(record("a"), record("b", payload=b"x" * 1025))
            with pytest.raises(BadArgument):
                await d.spool.put(record("a"), record("t", Kind.TELEMETRY, b"{"))
            assert await d.drain() == []

    run_fast(main())


def test_72_hours_offline_with_100_000_records_keep_the_disk_bounded_and_lose_only_old_telemetry(
    tmp_path: Path,
) -> None:
    budget, count = 4 * 1024 * 1024, 100_000

    async def main() -> None:
        async with desk(tmp_path, budget_bytes=budget) as d:
            kept: list[str] = []
            for start in range(0, count, 500):
                records = [offline_record(n) for n in range(start, start + 500)]
                kept += [r.id for r in records if r.kind is not Kind.TELEMETRY]
                await asyncio.gather(*(d.spool.put(*records[at : at + 20]) for at in range(0, 500, 20)))
                await asyncio.sleep(72 * HOUR_S / count * 500)
                d.wall_s += 1296
                assert disk(tmp_path) < budget * 1.15 + 3 * 1024 * 1024
            lost = d.spool.status().lost["evicted"]
            assert lost > count / 2
            arrived = await d.drain(2 * HOUR_S)
            gap = [name for name in arrived if name.startswith("gap-")]
            assert len(gap) == 1
            report = next(msgspec.json.decode(item.payload) for item in d.arrived if item.id == gap[0])
            assert (report["count"], report["first_seq"]) == (lost, 2), "the first was an alert"
            assert report["last_s"] - report["first_s"] > 40 * HOUR_S
            assert sorted(name for name in arrived if name[0] in "acu") == sorted(kept)
            telemetry = [int(name[1:]) for name in arrived if name.startswith("t")]
            assert telemetry == sorted(telemetry)
            assert len(telemetry) + lost + len(kept) == count
            assert telemetry[0] > max(
                n for n in range(count) if offline_record(n).id == f"t{n}" and n < telemetry[0]
            )
            order = [item.topic.rpartition("/")[2] for item in d.arrived]
            assert order == sorted(order, key=["alert", "config", "audit", "telemetry"].index)
            await asyncio.sleep(0)
            assert d.left() == 0
        assert disk(tmp_path) < 3 * 1024 * 1024, "reserve, and free pages for the next time"

    run_fast(main())


@pytest.mark.parametrize("size", [20, 200, 800, 3000, 4100, 9000, 12500])
def test_what_records_count_for_in_the_budget_is_what_they_take_on_the_disk(
    tmp_path: Path, size: int
) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(*(record(f"alert-{n:013}", payload=b"x" * size) for n in range(2000)))
            counted = d.spool.status().records[Kind.ALERT].size
            await d.spool.close()
            assert 0.9 < d.path.stat().st_size / counted < 1.1

    run_fast(main())


def offline_record(n: int) -> Record:
    kinds = {0: Kind.ALERT, 250: Kind.AUDIT, 500: Kind.CONFIG}
    kind = kinds.get(n % 1000, Kind.TELEMETRY)
    name = {Kind.ALERT: "a", Kind.AUDIT: "u", Kind.CONFIG: "c", Kind.TELEMETRY: "t"}[kind]
    return record(f"{name}{n}", kind, b'{"sample":"%s"}' % (b"x" * (n % 300)))


def disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def damage(path: Path, how: str) -> None:
    if how == "not a database":
        path.write_bytes(b"SD cards forget" * 1000)
    elif how == "a torn page":
        data = bytearray(path.read_bytes())
        data[4096 * 2 : 4096 * 3] = b"\xff" * 4096
        path.write_bytes(data)
    elif how == "no state":
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.execute("UPDATE state SET json = x'00'")
            base.commit()


@pytest.mark.parametrize("how", ["not a database", "a torn page", "no state"])
def test_a_damaged_file_is_put_aside_by_name_a_new_one_begun_and_the_fleet_told(
    tmp_path: Path, how: str
) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(*(record(f"r{n}", payload=b"x" * 500) for n in range(20)))
            await d.spool.close()
            damage(d.path, how)
            await d.restart()
            await d.spool.put(record("after"))
            assert (tmp_path / "spool.db.damaged").exists()
            arrived = await d.drain()
            assert "after" in arrived
            name = f"damaged-{d.spool.status().spool}"
            told = next(msgspec.json.decode(item.payload) for item in d.arrived if item.id == name)
            assert (told["code"], told["event"], told["severity"]) == ("spool.damaged", "once", "critical")
            assert told["kept_as"] == "spool.db.damaged"
            if how == "no state":
                assert set(arrived) > {f"r{n}" for n in range(20)}

    run_fast(main())


def test_a_damaged_file_that_cannot_be_put_aside_is_a_trouble_with_a_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("a"))
            await d.spool.close()
            damage(d.path, "not a database")
            (tmp_path / "spool.db.damaged").mkdir()
            await d.restart()
            with pytest.raises(StorageError, match="Is a directory"):
                await d.spool.put(record("b"))
            assert "Is a directory" in d.spool.status().disk

    run_fast(main())


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            with contextlib.closing(sqlite3.connect(d.path)) as base:
                base.execute("PRAGMA user_version=99")
            before = d.path.read_bytes()
            with pytest.raises(StorageError, match="version 99, made by a newer edged"):
                await d.spool.put(record("a"))
            assert d.path.read_bytes() == before

    run_fast(main())


def test_a_disk_that_comes_back_is_used_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path / "card") as d:
            async with d.running():
                await asyncio.sleep(30)
                assert "cannot be opened" in d.spool.status().held_by
                assert d.spool.status().disk == d.spool.status().held_by
                with pytest.raises(StorageError, match="cannot be opened"):
                    await d.spool.put(record("a"))
                (tmp_path / "card").mkdir()
                await d.spool.put(record("b"))
                await asyncio.sleep(30)
            assert [item.id for item in d.arrived] == ["b"]

    run_fast(main())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from edged.errors import StorageError
from edged.links.spool.config import SpoolConfig
from edged.links.spool.service import Spool
from edged.links.spool.values import Kind, Record
from tests.rig.fastloop import WatchedThread, run_fast
from tests.rig.powercut import Fault, fail, note, room
from tests.rig.spool_broker import Broker
import os, random, subprocess
root = Path(sys.argv[1])
def record(name, kind=Kind.ALERT, size=100):
    return Record(id=name, kind=kind, topic="t", payload=b'"' + b"x" * size + b'"')
async def main():
    thread = WatchedThread("spool")
    spool = Spool(root / "spool.db", SpoolConfig(), "dev", Broker(random.Random(1), print, print), thread, lambda: 1.8e9)
    await body(spool)
async def put(spool, *records):
    try:
        await spool.put(*records)
        note("kept " + " ".join(r.id for r in records))
    except StorageError as exc:
        note(exc.message)
"""


def stored(folder: Path) -> set[str]:
    if not (folder / "spool.db").exists():
        return set()
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as base:
        try:
            return {name for (name,) in base.execute("SELECT id FROM record")}
        except sqlite3.OperationalError:  # before the tables were there
            return set()


def program(body: str) -> str:
    return f"{PROGRAM}{body}\nrun_fast(main())"


def test_on_a_full_disk_what_must_not_be_lost_takes_the_place_of_telemetry(tmp_path: Path) -> None:
    root = tmp_path / "root"
    body = """
async def body(spool):
    for n in range(60):
        await put(spool, *(record(f"t{n}-{m}", Kind.TELEMETRY, 3000) for m in range(10)))
    room(50_000)
    for n in range(400):
        await put(spool, record(f"a{n}", size=3000))
    await put(spool, record("t", Kind.TELEMETRY))
"""
    root.mkdir()
    log = recorded([sys.executable, "-c", program(body), str(root)], root)
    assert log.returncode == 0, log.output
    kept = [text for text in log.notes() if text.startswith("kept a")]
    assert log.notes()[-1].endswith("the disk is full")
    assert len(kept) > 50
    found = stored(log.cut().write(tmp_path / "after"))
    assert found >= {text.split()[1] for text in kept}


def test_what_an_fsync_failed_for_does_not_take_later_records_with_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    log = recorded([sys.executable, "-c", IN_TURN, program(BEFORE), program(AFTER), str(root)], root)
    assert log.returncode == 0, log.output
    kept = {text.split()[1] for text in log.notes() if text.startswith("kept")}
    assert kept == {"before", "later0", "later1", "later2"}
    for seed in range(60):
        assert stored(log.cut(None, seed).write(tmp_path / str(seed))) >= kept


IN_TURN = """
import subprocess, sys
for text in sys.argv[1:3]:
    subprocess.run([sys.executable, "-c", text, sys.argv[3]], check=True)
"""
BEFORE = """
async def body(spool):
    await put(spool, record("before"))
    fail(Fault("EIO", "sync", 1, 1))
    await put(spool, record("failed", size=9000))
    os._exit(0)
"""
AFTER = """
async def body(spool):
    for n in range(3):
        await put(spool, record(f"later{n}"))
    os._exit(0)
"""


def test_a_sample_of_the_campaign_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.spool", "--seed", "1", "--runs", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("spool: 10 runs, 0 failures\n"), done.stdout + done.stderr
