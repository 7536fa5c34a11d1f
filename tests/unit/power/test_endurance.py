from __future__ import annotations

import random

import pytest

from edged.power.bands import COMMON
from edged.power.endurance import Draw, Endurance
from edged.power.policy import Policy
from edged.power.readings import Reading, Sample

IDLE_W, FULL_W = 2.1, 6.4
HOURS = 4.0
LOOK_S = 5.0


def sample(percent: float | None, busy: float, mains: float | None = 0.0) -> Sample:
    reads = {
        "battery.percent": percent,
        "battery.mains": mains,
        "cpu.busy": 100 * busy,
        "cpu.own": 100 * busy,
    }
    reads["battery.reserve"] = 100.0 if mains == 1.0 else percent
    return {key: Reading(value=at, unit="", source="test", age_s=0.0) for key, at in reads.items()}


def lasted(pack_wh: float, hours: float = HOURS, draw: Draw = Draw(3.06, 6.12)) -> tuple[float, list[float]]:  # noqa: B008 - a value
    """Hours until the pack is empty under as much work as is allowed, and the share of each look."""
    policy, now, left = Policy(endurance=Endurance(hours, draw)), 0.0, pack_wh
    shares: list[float] = []
    while left > 0:
        limits = policy.decide(COMMON, sample(float(round(100 * left / pack_wh)), (shares or [0.5])[-1]), now)
        shares.append(1.0 if limits.duty is None else limits.duty)
        left -= (IDLE_W + (FULL_W - IDLE_W) * shares[-1]) * LOOK_S / 3600
        now += LOOK_S
        assert limits.priority_floor == 0 or now > hours * 3600
    return now / 3600, shares


@pytest.mark.parametrize("pack_wh", [10.0, 12.0, 15.0, 20.0])
def test_a_pack_that_can_last_as_stated_does_and_little_is_left_over(pack_wh: float) -> None:
    hours, _ = lasted(pack_wh)
    assert HOURS <= hours <= HOURS * 1.06


def test_a_pack_that_lasts_anyway_is_not_held_back() -> None:
    _, shares = lasted(30.0)
    assert min(shares[: int(HOURS * 3600 / LOOK_S)]) == 1.0


def test_a_pack_that_cannot_last_gets_the_least_work() -> None:
    hours, shares = lasted(6.0)
    assert hours < HOURS
    assert max(shares[len(shares) // 2 :]) == 0.03


def test_a_half_full_pack_has_to_last_half_as_long() -> None:
    endurance = Endurance(8.0)
    endurance.look(sample(50.0, 0.5), 0.0)
    assert endurance.planned(4 * 3600 - 1)
    assert not endurance.planned(4 * 3600)


def test_on_mains_nothing_is_planned_and_unplugging_begins_anew() -> None:
    endurance = Endurance(1.0)
    endurance.look(sample(80.0, 0.5), 0.0)
    endurance.look(sample(79.0, 0.5, mains=1.0), 10.0)
    assert not endurance.planned(10.0)
    endurance.look(sample(100.0, 0.5), 5000.0)
    assert endurance.planned(5000.0 + 3599)


def test_where_mains_is_not_known_the_time_begins_when_the_gauge_falls() -> None:
    endurance = Endurance(1.0)
    for at in range(0, 100_000, 1000):
        endurance.look(sample(100.0, 0.2, mains=None), float(at))
    assert endurance.planned(99_000.0 + 3599)
    endurance.look(sample(99.0, 0.2, mains=None), 100_000.0)
    assert not endurance.planned(99_000.0 + 3600)


def test_a_gauge_that_stops_answering_changes_nothing() -> None:
    dice, endurance = random.Random(5), Endurance(HOURS)  # noqa: S311 - repeatable, not secret
    for index in range(2000):
        percent = None if dice.random() < 0.1 else float(round(100 - index / 40))
        endurance.look(sample(percent, 0.4), index * 5.0)
    load = endurance.load(10_000.0)
    assert load is not None
    assert 0.0 <= load <= 3.0
