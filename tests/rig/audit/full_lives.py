"""What an audit log does on a disk that is full, step by step; each is called by `full_disk.run_small`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edged.audit.log import Log
from edged.errors import StorageError
from tests.rig.audit.full_disk import fill, free
from tests.rig.audit.stored import SMALL, Board, an_event, numbers, records, store, verify


def a_store(folder: Path) -> None:
    """Acts are refused, what makes room is recorded in the reserve, and afterwards there is one again."""
    log = store(folder / "audit")
    log.append([an_event(1)])
    hog = fill(folder)
    refused = 0
    for _ in range(2000):
        try:
            log.append([an_event(10)])
        except StorageError:
            refused += 1
    assert refused > 1900, refused
    assert log.reserved
    for _ in range(3000):
        log.append([an_event(2)], vital=True)
    try:
        log.append([an_event(10)])
    except StorageError:
        pass
    else:
        raise AssertionError("an act was recorded where there is no room for it")
    free(hog)
    log.append([an_event(3)])
    log.close()
    assert (folder / "audit" / "reserve").stat().st_size == 1 << 20
    said = numbers(folder / "audit")
    assert (said.count(2), said.count(3)) == (3000, 1), said
    assert verify(folder / "audit").intact


def a_used_up_reserve(folder: Path) -> None:
    """Room is made even where the reserve has none for its record, which is written once there is."""
    asyncio.run(_use_up(folder))


async def _use_up(folder: Path) -> None:
    log = Log(folder / "audit", SMALL, Board().clock())
    await log.open()
    hog = fill(folder)
    before = -1
    while log.standing.state.seq != before:
        before = log.standing.state.seq
        await asyncio.gather(*(log.act(an_event(2, "x" * 90), frees=True) for _ in range(100)))
    free(hog)
    await log.act(an_event(3))
    await log.close()
    said = numbers(folder / "audit")
    assert said.count(2) % 100 == 0, "an act that made room is missing"
    assert said[-1] == 3
    assert verify(folder / "audit").intact


def a_log(folder: Path) -> None:
    """The daemon's log: an act raises, one that makes room is recorded, a note is counted as lost."""
    asyncio.run(_log(folder))


async def _log(folder: Path) -> None:
    log = Log(folder / "audit", SMALL, Board().clock())
    await log.open()
    await log.act(an_event(1))
    hog = fill(folder)
    refusal = ""
    while not refusal:  # what room its last block has is used up first
        try:
            await log.act(an_event(1))
        except StorageError as exc:
            refusal = exc.message
    assert "not done, since it cannot be recorded" in refusal
    log.note(an_event(3))
    await log.act(an_event(4), frees=True)
    said = log.failing
    free(hog)
    await log.act(an_event(5))
    assert (bool(said), log.failing, log.lost, log.reserved) == (True, None, 1, True)
    await log.close()
    assert [number for number in numbers(folder / "audit") if number != 1] == [4, 5]
    assert [record.about for record in records(folder / "audit") if record.what == "audit.lost"] == [
        {"records": 1}
    ]
    assert verify(folder / "audit").intact
