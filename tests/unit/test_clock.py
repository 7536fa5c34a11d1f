"""What is believed of a wall clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from edged.clock import BUILT_S, Clock, Instant, keep, keep_floor, read_floor, stepped_s, synchronised
from edged.tasks import OneThread
from tests.rig.running import pass_time, running

LATER = BUILT_S + 1e6


@dataclass
class Board:
    """Its clocks stand where the test puts them."""

    wall_s: float = LATER
    uptime_s: float = 10.0
    synced: bool = True

    def clock(self, floor_s: float = BUILT_S) -> Clock:
        return Clock(
            floor_s, wall=lambda: self.wall_s, uptime=lambda: self.uptime_s, synced=lambda: self.synced
        )


def test_a_clock_that_was_set_is_believed() -> None:
    assert Board().clock().now() == Instant(LATER, True, 10.0)


def test_a_clock_nobody_set_tells_the_time_and_is_not_trusted() -> None:
    assert Board(synced=False).clock().now() == Instant(LATER, False, 10.0)


def test_a_board_in_1970_counts_on_from_its_floor_untrusted_though_the_kernel_says_synchronised() -> None:
    board = Board(wall_s=3.0)
    clock = board.clock(floor_s=LATER)
    board.wall_s, board.uptime_s = 8.0, 15.0
    assert clock.now() == Instant(LATER + 5.0, False, 15.0)


def test_the_floor_only_rises() -> None:
    clock = Board().clock()
    clock.raise_floor(LATER + 50)
    clock.raise_floor(LATER)
    assert clock.floor_s == LATER + 50
    assert clock.now() == Instant(LATER + 50, False, 10.0)


def test_a_step_is_told_from_the_passing_of_time() -> None:
    before = Instant(LATER, True, 10.0)
    assert stepped_s(before, Instant(LATER + 100.2, True, 110.0)) == 0.0
    assert stepped_s(before, Instant(LATER + 40.0, True, 110.0)) == -60.0
    assert stepped_s(before, Instant(LATER + 400.0, True, 110.0)) == 300.0


def test_a_trusted_moment_is_kept_for_the_next_start_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    keep_floor(path, Instant(LATER, False, 1.0))
    assert read_floor(path) == BUILT_S
    keep_floor(path, Instant(LATER + 0.9, True, 1.0))
    assert read_floor(path) == LATER


def test_a_damaged_floor_is_the_build_date(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    for damage in (b"", b"soon", b"9" * 100, b"-5", b"\xff"):
        path.write_bytes(damage)
        assert read_floor(path) == BUILT_S


def test_the_kernel_is_asked_whether_somebody_set_its_clock() -> None:
    assert synchronised() in (True, False)
    assert Clock().now().uptime_s > 0


@running
async def test_the_time_is_kept_now_and_every_ten_minutes(tmp_path: Path) -> None:
    board, disk = Board(), OneThread("disk")
    path = tmp_path / "clock"
    async with asyncio.TaskGroup() as group:
        service = group.create_task(keep(board.clock(), path, disk))
        while read_floor(path) < LATER:
            await disk.run(int)
        board.wall_s += 600
        while read_floor(path) < LATER + 600:
            pass_time(600.0)
            await disk.run(int)
        service.cancel()
    disk.close()
