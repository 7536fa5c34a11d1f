"""The service on the loop: real threads, real files, sensors that hang."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from edged.limits import UNCONSTRAINED, Limits
from edged.power import hardware
from edged.power.config import PowerConfig
from edged.power.readings import Raw
from edged.power.sampler import Sampler
from edged.power.sensors import Reads
from edged.power.service import Change, Power
from edged.power.sources.hwmon import Hwmon
from edged.power.sources.supply import Supply
from edged.power.sources.thermal import Thermal
from edged.tasks import Latest
from tests.rig.board import Board


class Stuck:
    """A driver whose read blocks in the kernel until `let_go`."""

    name = "stuck"

    def __init__(self) -> None:
        self.entered, self.let_go, self.hangs = threading.Event(), threading.Event(), True

    def read(self, now: float) -> list[Raw]:  # noqa: ARG002 - what every source takes
        if self.hangs:
            self.entered.set()
            self.let_go.wait()
        return [Raw("heat.gauge", 30.0, "°C", "/sys/stuck")]

    def close(self) -> None:
        self.let_go.set()


class Broken:
    """A source that fails in a way nobody foresaw."""

    name = "broken"

    def read(self, now: float) -> list[Raw]:  # noqa: ARG002 - what every source takes
        raise OSError(5, "Input/output error")

    def close(self) -> None:
        pass


def governed(
    tmp_path: Path,
    act: Callable[[Power, Board], Awaitable[None]],
    more: Sequence[Reads] = (),
    **settings: object,
) -> list[Change]:
    """Run `act` with the service of a Raspberry Pi 4; gives what changed."""
    changes: list[Change] = []

    async def run() -> None:
        board = Board(tmp_path, "raspberry-pi-4+max17040")
        config = PowerConfig(root=str(tmp_path), read_timeout_s=0.2, dwell_s=1e-3, **settings)  # type: ignore[arg-type] # by name
        known = hardware.profiles()
        sources = [*more, Thermal(tmp_path), Hwmon(tmp_path), Supply(tmp_path)]
        limits = Latest[Limits](UNCONSTRAINED)
        power = Power(
            config, known, hardware.match(config, known), Sampler(sources), limits, on_change=changes.append
        )
        try:
            await act(power, board)
            assert limits.value == (changes[-1].after if changes else UNCONSTRAINED)
        finally:
            power.close()

    asyncio.run(run())
    return changes


def test_heat_reaches_the_limits_at_once_and_every_change_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(power: Power, board: Board) -> None:
        for celsius in (50, 69, 69.5, 81.1, 81.1, 83):
            board.heat(celsius)
            await power.look()

    with caplog.at_level(logging.WARNING):
        changes = governed(tmp_path, act)
    assert [(c.before.band, c.after.band) for c in changes] == [("nominal", "warm"), ("warm", "critical")]
    assert changes[-1].after.reason.startswith("critical: heat.cpu-thermal reached 81.1 °C")
    assert sum("limits changed" in record.message for record in caplog.records) == 2


def test_the_status_says_board_band_cause_and_what_is_unknown(tmp_path: Path) -> None:
    async def act(power: Power, board: Board) -> None:
        await power.look()
        board.heat(75)
        board.vanish("sys/class/power_supply/battery/capacity")
        await power.look()
        status = power.status()
        assert (status.board, status.matched_by) == ("raspberry-pi-4", "device tree: raspberrypi,4-model-b")
        assert (status.band, status.cause, status.changes) == ("hot", "heat", 1)
        assert status.undervoltage_events == 0
        assert "battery.percent: gone" in status.unknown

    governed(tmp_path, act)


def test_a_read_that_hangs_costs_its_own_source_and_no_other(tmp_path: Path) -> None:
    stuck = Stuck()

    async def act(power: Power, board: Board) -> None:
        board.heat(75)
        before = {thread.name for thread in threading.enumerate()}
        await power.look()
        assert stuck.entered.is_set()
        assert power.status().band == "hot"  # the die was read all the same
        assert "source stuck: hangs" in power.status().unknown
        for _ in range(5):
            await power.look()
        assert sum(thread.name == "sensors" for thread in threading.enumerate()) == 2, before
        stuck.hangs = False
        stuck.let_go.set()
        while power.status().unknown and "source stuck: hangs" in power.status().unknown:
            await power.look()
        await power.look()
        assert power.sample["heat.gauge"].value == 30.0

    governed(tmp_path, act, [stuck])


def test_a_reading_whose_source_hangs_says_so_and_the_loop_goes_on(tmp_path: Path) -> None:
    stuck = Stuck()
    stuck.hangs = False

    async def act(power: Power, board: Board) -> None:
        await power.look()
        assert power.sample["heat.gauge"].value == 30.0
        stuck.hangs = True
        turns = 0
        looking = asyncio.get_running_loop().create_task(power.look())
        while not looking.done():
            turns += 1
            await asyncio.sleep(0)
        await looking
        assert turns > 100
        gauge = power.sample["heat.gauge"]
        assert (gauge.value, gauge.note) == (None, "its source hangs")
        stuck.let_go.set()

    governed(tmp_path, act, [stuck])


def test_the_daemon_can_end_while_a_read_hangs(tmp_path: Path) -> None:
    stuck = Stuck()

    async def act(power: Power, board: Board) -> None:
        looking = asyncio.get_running_loop().create_task(power.look())
        await asyncio.to_thread(stuck.entered.wait)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking

    try:
        governed(tmp_path, act, [stuck])
    finally:
        stuck.let_go.set()


def test_a_source_that_fails_takes_nothing_with_it(tmp_path: Path) -> None:
    async def act(power: Power, board: Board) -> None:
        board.heat(70)
        await power.look()
        assert power.status().band == "warm"

    governed(tmp_path, act, [Broken()])


def test_without_governing_everything_is_read_and_nothing_limited(tmp_path: Path) -> None:
    async def act(power: Power, board: Board) -> None:
        board.heat(90)
        await power.look()
        assert power.sample["heat.cpu-thermal"].value == 90.0

    assert governed(tmp_path, act, govern=False) == []


def test_it_looks_seldom_while_calm_and_often_near_a_band(tmp_path: Path) -> None:
    async def act(power: Power, board: Board) -> None:
        for celsius, interval_s in ((50, 5.0), (58.9, 5.0), (59.1, 3.0), (80, 2.0)):
            board.heat(celsius)
            await power.look()
            assert power._interval_s() == interval_s, celsius

    governed(tmp_path, act)
