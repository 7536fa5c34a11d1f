from __future__ import annotations

from pathlib import Path

import pytest

from edged.errors import BadConfig
from edged.power import boards, hardware
from edged.power.config import PowerConfig
from edged.power.readings import Reading
from tests.rig.board import Board
from tests.rig.board_trees import TREES

KNOWN = hardware.profiles()
GOOD = """
name = "x"
title = "X"
compatible = ["x,y"]
[heat]
sensors = ["cpu-thermal"]
throttle_c = { value = 80, source = "https://example.org/x" }
"""


def reading(value: float | None, source: str = "test") -> Reading:
    return Reading(value=value, unit="", source=source, age_s=0.0)


@pytest.mark.parametrize("tree", sorted(TREES))
def test_every_board_is_known_by_its_device_tree(tree: str, tmp_path: Path) -> None:
    Board(tmp_path, tree)
    match = boards.identify(
        KNOWN, hardware.compatible(tmp_path), "x86_64" if tree == "x86-laptop" else "aarch64"
    )
    assert match.board.name == tree.partition("+")[0]


def test_every_profile_has_a_tree_to_try_it_on() -> None:
    assert set(KNOWN.boards) == {tree.partition("+")[0] for tree in TREES}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (["nvidia,p3509-0000+p3668-0001", "nvidia,tegra194"], "jetson-xavier-nx"),
        (["nvidia,p3768-0000+p3767-0001", "nvidia,p3767-0001", "nvidia,tegra234"], "jetson-orin-nx"),
        (["nvidia,p3737-0000+p3701-0005", "nvidia,tegra234"], "jetson-agx-orin"),
        (["raspberrypi,400", "brcm,bcm2711"], "raspberry-pi-4"),
        (["pine64,rockpro64-v2.1", "rockchip,rk3399"], "generic-arm"),
        ([], "generic-arm"),
    ],
)
def test_variants_find_their_profile(said: list[str], name: str) -> None:
    assert boards.identify(KNOWN, said, "aarch64").board.name == name


def test_a_machine_without_a_device_tree_is_known_by_its_architecture() -> None:
    assert boards.identify(KNOWN, [], "x86_64") == (KNOWN.boards["x86-laptop"], "machine: x86_64")


def test_the_config_may_name_the_board_and_a_wrong_name_is_refused_with_the_right_ones() -> None:
    assert hardware.match(PowerConfig(board="raspberry-pi-5"), KNOWN).board.name == "raspberry-pi-5"
    with pytest.raises(BadConfig, match=r"power\.board: no 'toaster'; there are: .*raspberry-pi-4"):
        hardware.match(PowerConfig(board="toaster"), KNOWN)
    with pytest.raises(BadConfig, match=r"power\.overlays: no 'lemon'"):
        hardware.match(PowerConfig(overlays=["lemon"]), KNOWN)


def test_every_figure_of_every_profile_names_its_source() -> None:
    for board in KNOWN.boards.values():
        for part in (board.heat, board.electric):
            for name in part.__struct_fields__:
                fact = getattr(part, name)
                if isinstance(fact, boards.Fact):
                    assert fact.source.startswith(("https://", "derived: ", "chosen: ")), (board.name, name)


def test_every_problem_of_every_file_is_named_with_its_line() -> None:
    wrong = GOOD.replace('title = "X"\n', "").replace('source = "https://example.org/x"', 'sauce = "x"')
    made, problems = boards.library(
        {"x.toml": wrong + "colour = 3\n", "y.toml": GOOD}, {"z.toml": 'name = "z'}
    )
    assert made is None
    assert sorted({file for file, _ in problems}) == ["x.toml", "y.toml", "z.toml"]
    said = [f"{file}: {problem}" for file, problem in problems]
    assert "x.toml: line 6: heat.throttle_c.sauce: unknown key; known here: source, value" in said
    assert any(line.startswith("x.toml") and "title: required, and missing" in line for line in said)
    assert any(line.startswith("x.toml: line 7: heat.colour: unknown key") for line in said)
    assert "y.toml: line 1: name: must be the file's own: y" in said


@pytest.mark.parametrize("source", ["", "trust me", "http://insecure.example"])
def test_a_figure_without_a_public_source_is_refused(source: str) -> None:
    made, problems = boards.library({"x.toml": GOOD.replace("https://example.org/x", source)}, {})
    assert made is None
    assert problems[0][1].path == "heat.throttle_c.source"


def test_the_profile_says_which_sensors_govern_and_which_must_be_heard() -> None:
    sample = {f"heat.{name}": reading(40.0) for name in ("cpu-thermal", "rp1-adc", "nvme.composite")}
    made = {
        rule.reading: rule.required
        for rule in boards.rules(KNOWN.boards["raspberry-pi-5"], sample)
        if rule.cause == "heat"
    }
    assert made == {"heat.cpu-thermal": True, "heat.rp1-adc": False}


def test_without_a_figure_the_kernels_own_trip_counts_and_then_80() -> None:
    generic = KNOWN.boards["generic-arm"]
    sample = {
        "heat.cpu-thermal": reading(40.0),
        "trip.cpu-thermal": reading(70.0, "trip_point_0"),
        "heat.soc-thermal": reading(40.0),
    }
    assert boards.throttle_c(generic, "heat.cpu-thermal", sample) == (70.0, "trip_point_0")
    assert boards.throttle_c(generic, "heat.soc-thermal", sample)[0] == 80.0


def test_a_profile_whose_sensors_are_all_missing_says_so() -> None:
    pi = KNOWN.boards["raspberry-pi-4"]
    assert boards.missing(pi, {"heat.nvme": reading(40.0)}) == ["heat.cpu-thermal"]
    assert boards.missing(pi, {"heat.cpu-thermal": reading(None)}) == []


@pytest.mark.parametrize(
    ("key", "source", "value", "found"),
    [
        ("battery.voltage", "/sys/class/power_supply/battery", 3.9, ["ups-max17040"]),
        ("battery.voltage", "/sys/class/power_supply/BAT0", 11.4, []),
        ("gauge.ina219.voltage", "/sys/class/hwmon/hwmon2/in1_input", 7.7, ["ups-ina219-2s"]),
        ("gauge.ina219.voltage", "/sys/class/hwmon/hwmon2/in1_input", 3.7, ["ups-ina219-1s"]),
        ("gauge.ina219.voltage", "/sys/class/hwmon/hwmon2/in1_input", 12.0, []),
        ("battery.percent", "/run/edged/pisugar.sock", 80.0, ["ups-pisugar"]),
    ],
)
def test_an_added_battery_is_known_by_where_its_readings_come_from(
    key: str, source: str, value: float, found: list[str]
) -> None:
    assert [o.name for o in boards.attached(KNOWN, {key: reading(value, source)})] == found
