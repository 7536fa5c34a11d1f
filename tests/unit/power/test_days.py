"""Whole days at once: normal ones change nothing, and what is planted into one is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import pi, sin

import pytest

from edged.limits import Limits
from edged.power.bands import COMMON, Rule, heat
from edged.power.governor import NOTHING, State, step
from edged.power.ledger import Ledger
from edged.power.readings import Raw
from tests.rig.board_heat import Heat, sensed

DAY_S = 86_400.0
LOOK_S = 5.0
RULES = [Rule("heat.cpu-thermal", "heat", heat(80.0), required=True, unit=" °C"), *COMMON]

Plant = Callable[[float, dict[str, float | None]], None]
"""Changes what is read at an hour of the day."""


def day(seed: int, plant: Plant = lambda _hour, _reads: None) -> list[Limits]:
    """Every change of the limits in a day of a board that works now and then, in a room of 16 to 28 °C."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    board, ledger = Heat(20.0), Ledger()
    state: State = NOTHING
    found: list[Limits] = []
    load, now = 0.05, 0.0
    while now < DAY_S:
        hour = now / 3600
        board.ambient_c = 22.0 + 6.0 * sin((hour - 9) / 24 * 2 * pi)
        if dice.random() < 0.01:
            load = dice.choice((0.05, 0.05, 0.15, 0.3))
        board.run(LOOK_S, load)
        reads: dict[str, float | None] = {
            "heat.cpu-thermal": sensed(board.die_c, dice),
            "cpu.busy": 100 * load if dice.random() < 0.97 else 85.0,
            "battery.percent": 97.0,
            "battery.mains": 1.0,
            "supply.undervoltage": 0.0,
            "memory.available": 60.0 + dice.uniform(-5, 5),
            "memory.total": 100.0,
            "pressure.memory.some": dice.choice((0.0, 0.0, 0.4)),
        }
        plant(hour, reads)
        sample = ledger.update([Raw(key, at, "", key) for key, at in reads.items()], now)
        state, limits = step(RULES, state, sample, now)
        if not found or limits != found[-1]:
            found.append(limits)
        now += LOOK_S
    return found[1:]


@pytest.mark.parametrize("seed", range(2))
def test_a_normal_day_changes_nothing(seed: int) -> None:
    assert day(seed) == []


def hot(hour: float, reads: dict[str, float | None]) -> None:
    if 13 <= hour < 14:
        reads["heat.cpu-thermal"] = (reads["heat.cpu-thermal"] or 0) + 40


def unplugged(hour: float, reads: dict[str, float | None]) -> None:
    if 10 <= hour < 15:
        reads["battery.mains"], reads["battery.percent"] = 0.0, 97.0 - (hour - 10) * 19


def starved(hour: float, reads: dict[str, float | None]) -> None:
    if 3 <= hour < 3.2:
        reads["memory.available"] = 5.0


def dipping(hour: float, reads: dict[str, float | None]) -> None:
    if 20 <= hour < 20.002:
        reads["supply.undervoltage"] = 1.0


def frozen(hour: float, reads: dict[str, float | None]) -> None:
    if hour >= 6:
        reads["heat.cpu-thermal"] = 47.7


def lost(hour: float, reads: dict[str, float | None]) -> None:
    if 6 <= hour < 7:
        reads["heat.cpu-thermal"] = None


@pytest.mark.parametrize(
    ("plant", "cause", "worst"),
    [
        (hot, "heat", {"warm", "hot", "critical"}),
        (unplugged, "battery", {"critical"}),
        (starved, "memory", {"short"}),
        (dipping, "supply", {"brown-out"}),
        (frozen, "heat", {"warm"}),
        (lost, "heat", {"warm"}),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_is_planted_into_a_day_is_found(plant: Plant, cause: str, worst: set[str]) -> None:
    found = day(7, plant)
    assert found
    assert {limits.cause for limits in found} - {""} == {cause}
    assert any(limits.band in worst for limits in found)
