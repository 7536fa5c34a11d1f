"""What a spool leaves on the disk of a device that has keys, and what becomes of it with other keys or none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edged.errors import KeysUnavailable, StorageError
from edged.keys import rotation
from edged.keys.vault import Purpose
from edged.links.spool.resealing import reseal
from edged.links.spool.sealing import GONE
from edged.links.spool.status import OK
from edged.links.spool.values import Kind
from tests.rig.fastloop import run_fast
from tests.rig.keyring import Device
from tests.rig.spool_desk import Desk, desk, record
from tests.rig.spool_keys import FixedKeys, VaultKeys

READING = b'{"reading": "nobody else may see 77aa"}'
OTHER = b"\1" * 32


def disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("spool.db*")))


def sql(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


async def restart(d: Desk, sealer: FixedKeys | None) -> None:
    d.sealer = sealer
    await d.restart()


def test_of_sealed_records_nothing_can_be_read_on_the_disk_and_everything_arrives(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, FixedKeys()) as d:
            for number, kind in enumerate(Kind):
                await d.spool.put(record(f"r{number}", kind, READING))
            assert b"nobody else" not in disk(tmp_path)
            await d.restart()
            assert b"nobody else" not in disk(tmp_path)
            assert len(await d.drain()) == len(Kind)
            status = d.spool.status()
            assert (status.sealed, status.keys) == (True, OK)
            assert all(total.size == 0 for total in status.records.values())

    run_fast(main())


def test_what_was_stored_before_there_were_keys_goes_on_leaving_and_what_comes_now_is_sealed(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("before", payload=b'"open"'))
            assert b'"open"' in disk(tmp_path)
            assert not d.spool.status().sealed
            await restart(d, FixedKeys())
            await d.spool.put(record("after", payload=READING))
            assert b"nobody else" not in disk(tmp_path)
            assert await d.drain() == ["before", "after"]

    run_fast(main())


def test_a_file_of_the_version_without_sealing_is_taken_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("old"))
            await d.spool.close()
            sql(d.path, "ALTER TABLE record DROP COLUMN sealed")
            sql(d.path, "PRAGMA user_version=1")
            await restart(d, FixedKeys())
            await d.spool.put(record("new"))
            assert await d.drain() == ["old", "new"]

    run_fast(main())


def test_a_damaged_file_of_that_version_gives_up_its_records_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("old"))
            await d.spool.close()
            sql(d.path, "ALTER TABLE record DROP COLUMN sealed")
            sql(d.path, "PRAGMA user_version=1")
            sql(d.path, "UPDATE state SET json=x'00'")
            sql(d.path, "ALTER TABLE record ADD COLUMN other INTEGER")
            await restart(d, FixedKeys())
            assert "old" in await d.drain()

    run_fast(main())


def test_after_a_rotation_old_records_open_and_sealed_again_they_outlive_their_epoch(tmp_path: Path) -> None:
    vault = Device(tmp_path).place().open_or_make()

    async def main() -> None:
        async with desk(tmp_path, VaultKeys(vault)) as d:
            await d.spool.put(record("first", payload=READING))
            epoch = rotation.rotate(vault)
            await d.spool.put(record("second", payload=READING))
            assert await d.drain() == ["first", "second"]
            await d.spool.put(record("third", payload=READING))
            await d.spool.close()
            assert reseal(d.path, vault.sealer(Purpose.SPOOL)) == 0
            epoch = rotation.rotate(vault)
            assert reseal(d.path, vault.sealer(Purpose.SPOOL)) == 1
            rotation.retire(vault, epoch)
            await d.restart()
            assert await d.drain() == ["third"]
            assert [item.payload for item in d.arrived] == [READING] * 3

    run_fast(main())


def test_with_other_keys_what_is_sealed_stays_is_named_and_leaves_when_the_right_ones_are_back(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with desk(tmp_path, FixedKeys(), batch_max=2) as d:
            mine = [f"mine-{n}" for n in range(50)]
            await d.spool.put(*map(record, mine), *(record(f"t{n}", Kind.TELEMETRY) for n in range(5)))
            await restart(d, FixedKeys(OTHER))
            await d.spool.put(record("theirs"))
            assert await d.drain() == ["theirs"]
            assert d.spool.status().keys == "55 records are damaged, or were sealed with other keys"
            await restart(d, FixedKeys())
            assert set(await d.drain()) == {*mine, *(f"t{n}" for n in range(5))}
            assert (d.left(), d.spool.status().keys) == (0, OK)

    run_fast(main())


def test_while_keys_do_not_open_nothing_is_taken_in_or_lost_and_what_lies_open_leaves(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as d:
            await d.spool.put(record("open"))
            await restart(d, FixedKeys())
            await d.spool.put(record("sealed"))
            keys = FixedKeys()
            keys.problem = KeysUnavailable("the TPM does not answer")
            await restart(d, keys)
            with pytest.raises(StorageError, match="the TPM does not answer"):
                await d.spool.put(record("refused", payload=READING))
            assert b"nobody else" not in disk(tmp_path)
            assert await d.drain() == ["open"]
            assert d.spool.status().keys == "KeysUnavailable: the TPM does not answer"
            keys.problem = None
            assert await d.drain() == ["sealed"]

    run_fast(main())


def test_a_device_whose_keys_are_gone_stores_nothing_in_the_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, FixedKeys()) as d:
            await d.spool.put(record("sealed"))
            await restart(d, None)
            with pytest.raises(StorageError, match="edged keys init"):
                await d.spool.put(record("refused"))
            assert await d.drain() == []
            assert (d.spool.status().keys, d.left()) == (GONE, 1)

    run_fast(main())


@pytest.mark.parametrize("change", ["topic='edged/v1/spy/up/alert'", "id='other'", "kind='config'"])
def test_a_payload_cannot_be_sent_elsewhere_or_as_something_else(tmp_path: Path, change: str) -> None:
    async def main() -> None:
        async with desk(tmp_path, FixedKeys()) as d:
            await d.spool.put(record("one", payload=READING))
            await d.spool.close()
            sql(d.path, f"UPDATE record SET {change}")  # noqa: S608 - one of the above
            await d.restart()
            assert await d.drain() == []
            assert d.spool.status().keys.startswith("1 records are damaged")

    run_fast(main())


def test_sealed_records_are_saved_from_a_damaged_file_without_the_keys(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, FixedKeys()) as d:
            await d.spool.put(record("sealed", payload=READING))
            await d.spool.close()
            sql(d.path, "UPDATE state SET json=x'00'")
            keys = FixedKeys()
            keys.problem = KeysUnavailable("the TPM does not answer")
            await restart(d, keys)
            assert await d.drain() == [f"damaged-{d.spool.status().spool}"]
            keys.problem = None
            assert await d.drain() == ["sealed"]
            assert d.arrived[-1].payload == READING

    run_fast(main())
