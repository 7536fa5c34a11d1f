"""The daemon as a process in which every simulated board is all there is: the real psutil reads it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.cli.call import checked
from edged.power.bands import ALLOWED, heat
from tests.chaos import power as campaign
from tests.rig import daemon, weights
from tests.rig.board import Board
from tests.rig.board_trees import TREES
from tests.rig.daemon import Daemon

FAST = "[power]\nsample_interval_s = 0.05\ncalm_interval_s = 0.05\ndwell_s = 0.4\n"
PATIENCE_S = 20.0
REPOSITORY = Path(__file__).parents[2]


@contextmanager
def governed(home: Path, board: Board, settings: str = FAST) -> Iterator[Daemon]:
    """The daemon on a simulated board."""
    daemon.write_config(home, settings)
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            board.inside(sys.executable, "-m", "edged", "run", "--config", str(home / "edged.toml")),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY,
        )  # fmt: skip
    device = Daemon(home, process)
    try:
        device.wait()
        yield device
        assert device.stop() == 0, device.log
    finally:
        if process.poll() is None:
            device.kill()


def until(device: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first status for which it holds."""
    deadline = time.monotonic() + PATIENCE_S
    with device.client() as client:
        while True:
            status = checked(client.call_tool("device_status", {}))
            if holds(status):
                return status
            assert time.monotonic() < deadline, (status["limits"], status["readings"], status["power"])
            time.sleep(0.01)


def band(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["limits"]["band"] == name)


@pytest.mark.parametrize("tree", sorted(TREES))
def test_probing_a_board_finds_its_profile_and_its_own_sensors(tree: str, tmp_path: Path) -> None:
    board = Board(tmp_path, tree)
    made = subprocess.run(
        board.inside(sys.executable, "-m", "edged", "hardware", "probe", "--json"),
        capture_output=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    found = msgspec.json.decode(made.stdout)
    assert found["board"] == tree.partition("+")[0]
    heard = {one["reading"]: one["value"] for one in found["readings"]}
    governing = [one["reading"] for one in found["governing"] if one["reading"].startswith("heat.")]
    assert governing
    required = [
        one["reading"] for one in found["governing"] if one["required"] and one["reading"].startswith("heat.")
    ]
    assert required
    assert all(heard[name] is not None for name in required)
    assert not [line for line in found["not_found"] if "profile's own" in line]
    assert found["limits"]["band"] == "nominal"
    assert all(one["source"] for one in found["readings"])


@pytest.mark.parametrize("name", ["raspberry-pi-4", "jetson-orin-nano", "x86-laptop"])
def test_a_ramp_takes_the_daemon_through_every_band_and_back(name: str, tmp_path: Path) -> None:
    board = Board(tmp_path / "board", name)
    throttle_c = {"raspberry-pi-4": 80.0, "jetson-orin-nano": 99.0, "x86-laptop": 100.0}[name]
    with governed(tmp_path / "home", board) as device:
        assert until(device, band("nominal"))["power"]["board"] == name
        for step in heat(throttle_c):
            board.heat(step.enter + 0.1)
            status = until(device, band(step.band))
            due = ALLOWED["heat"][step.level]
            assert status["limits"]["concurrency"] == due.concurrency
            assert status["limits"]["variant_floor"] == due.variant_floor
            assert status["limits"]["rate_hz"] == due.rate_hz
            assert (status["limits"]["duty"] or 1.0) <= (due.duty or 1.0)
            assert status["power"]["cause"] == "heat"
            assert f"{step.band}: heat." in status["limits"]["reason"]
        board.heat(45)
        until(device, band("nominal"))
        changes = [line for line in device.log.splitlines() if "limits changed" in line]
        assert len(changes) == len(set(changes))
        assert f"from={'nominal'} to=warm cause=heat" in changes[0]


def test_a_die_that_is_hot_at_the_start_is_governed_before_the_first_call(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    board.heat(82)
    with governed(tmp_path / "home", board) as device:
        assert device.call("device_status")["limits"]["band"] == "critical"


def test_a_sensor_that_vanishes_counts_one_band_up_and_says_so(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    with governed(tmp_path / "home", board) as device:
        until(device, band("nominal"))
        board.vanish("sys/class/thermal/thermal_zone0/temp")
        board.vanish("sys/class/hwmon/hwmon0/temp1_input")
        status = until(device, band("warm"))
        assert "heat.cpu-thermal is silent" in status["limits"]["reason"]
        assert status["readings"]["temperature_c"] is None
        assert any(line.startswith("heat.cpu-thermal: gone") for line in status["power"]["unknown"])
        board.heat(50)
        board.write("sys/class/thermal/thermal_zone0/temp", "50000\n")
        board.write("sys/class/hwmon/hwmon0/temp1_input", "50000\n")
        until(device, band("nominal"))


def test_a_sensor_that_lies_beyond_reason_is_unknown(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    with governed(tmp_path / "home", board) as device:
        until(device, band("nominal"))
        board.heat(-274)
        status = until(device, band("warm"))
        assert any("implausible: -274" in line for line in status["power"]["unknown"])


def test_mains_unplugged_at_nine_percent_is_critical_at_once(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "x86-laptop")
    board.vanish("sys/class/power_supply/hidpp_battery_0/*")
    board.write("sys/class/power_supply/BAT0/energy_now", "4500000\n")
    board.write("sys/class/power_supply/BAT0/capacity", "9\n")
    with governed(tmp_path / "home", board) as device:
        assert until(device, band("nominal"))["readings"]["mains"] is True
        board.write("sys/class/power_supply/AC/online", "0\n")
        status = until(device, band("critical"))
        assert status["power"]["cause"] == "battery"
        assert status["limits"]["priority_floor"] == 9
        with device.client() as client:
            refused = client.call_tool("models_add", {"manifest": "", "files": []})
        assert refused.is_error
        assert "no models are installed now: " in refused.text
        board.write("sys/class/power_supply/AC/online", "1\n")
        until(device, band("nominal"))


def test_a_battery_that_is_nearly_empty_powers_the_board_off_where_that_is_wanted(tmp_path: Path) -> None:
    board, done = Board(tmp_path / "board", "x86-laptop"), tmp_path / "done"
    board.vanish("sys/class/power_supply/hidpp_battery_0/*")
    board.write("sys/class/power_supply/BAT0/energy_now", "1000000\n")
    board.write("sys/class/power_supply/BAT0/capacity", "2\n")
    wanted = f'poweroff = true\npoweroff_command = ["/usr/bin/touch", "{done}"]\n'
    with governed(tmp_path / "home", board, FAST + wanted) as device:
        assert until(device, band("nominal"))["readings"]["mains"] is True
        assert not done.exists()
        board.write("sys/class/power_supply/AC/online", "0\n")
        until(device, lambda _: done.exists())
        assert "power off battery_pct=2" in device.log


def test_a_brown_out_limits_what_runs_at_once_and_is_counted(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    with governed(tmp_path / "home", board) as device:
        until(device, band("nominal"))
        for count in (1, 2):
            board.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
            status = until(device, lambda s, count=count: s["power"]["undervoltage_events"] == count)  # type: ignore[misc] # bound now
            assert status["limits"]["concurrency"] == 1
            assert status["limits"]["band"] == "brown-out"
            board.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
            until(device, band("nominal"))


def test_memory_that_runs_out_sheds_work(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    with governed(tmp_path / "home", board) as device:
        until(device, band("nominal"))
        board.memory(available_kb=200_000)
        status = until(device, band("short"))
        assert (status["power"]["cause"], status["limits"]["memory_share"]) == ("memory", 0.5)
        board.memory(available_kb=3_000_000)
        until(device, band("nominal"))


@pytest.mark.parametrize("seed", range(9000, 9006))
def test_a_random_day_keeps_every_invariant_and_replays_the_same(seed: int, tmp_path: Path) -> None:
    assert campaign.run(seed) is None
    first, _ = campaign.day(seed, tmp_path / "a")
    second, _ = campaign.day(seed, tmp_path / "b")
    assert campaign.encoded(first) == campaign.encoded(second).replace(b"/b/", b"/a/")


@pytest.mark.parametrize("trip", [step.enter for step in heat(80.0)])
def test_a_triangle_of_one_degree_at_each_trip_is_one_change_in_the_log(trip: float, tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    board.heat(trip - 1)
    with governed(tmp_path / "home", board) as device:
        before = device.log.count("limits changed")
        for offset in (-1.0, -0.5, 0.0, 0.5, 1.0, 0.5, 0.0, -0.5) * 3:
            celsius = trip + offset
            board.heat(celsius)
            until(device, lambda s, celsius=celsius: s["readings"]["temperature_c"] == celsius)  # type: ignore[misc] # bound now
        assert device.log.count("limits changed") - before == 1


def test_heat_decides_which_variant_answers_and_who_is_refused_until_when(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")
    picture = {"data": (REPOSITORY / "models/demo/digit_7.png").read_bytes()}
    with governed(tmp_path / "home", board) as device:
        device.install(weights.fetched() / "digits")
        cool = device.call("infer_digits", image=picture)
        assert (cool["ran"]["variant"], cool["ran"]["limits"]) == ("f32", "unconstrained")
        board.heat(70)
        until(device, band("warm"))
        warm = device.call("infer_digits", image=picture)
        assert warm["ran"]["variant"] == "f32"
        assert warm["ran"]["limits"].startswith("warm: heat.cpu-thermal reached 70 °C")
        assert warm["labels"][0]["label"] == cool["labels"][0]["label"] == "7"
        board.heat(75)
        status = until(device, band("hot"))
        assert 0.0 < status["limits"]["duty"] <= 0.37  # less what other programs take of this machine
        assert "also heat shaped" in status["limits"]["reason"]
        assert device.call("infer_digits", image=picture)["ran"]["variant"] == "int8"
        board.heat(82)
        until(device, band("critical"))
        with device.client() as client:
            refused = client.call_tool("infer_digits", {"image": picture, "priority": 2})
            served = client.call_tool("infer_digits", {"image": picture, "priority": 6})
        assert refused.is_error
        assert refused.structured is not None
        assert refused.structured["error"] == "Throttled"
        assert refused.structured["retry_after_s"] > 0
        assert "critical: heat.cpu-thermal" in refused.structured["message"]
        assert checked(served)["ran"]["variant"] == "int8"
