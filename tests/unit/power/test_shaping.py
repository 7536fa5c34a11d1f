from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from edged.limits import Limits
from edged.power.bands import COMMON, Rule, heat
from edged.power.policy import Policy
from edged.power.readings import Reading, Sample
from edged.power.shaping import LEAST
from tests.rig.board_heat import Heat, any_board, sensed

TRIP_C = 80.0
RULES = [Rule("heat.die", "heat", heat(TRIP_C), required=True, unit=" °C"), *COMMON]
LOOK_S = 2.0


def sample(celsius: float | None, busy: float, own: float) -> Sample:
    reads = {"heat.die": celsius, "cpu.busy": 100 * busy, "cpu.own": 100 * own}
    return {key: Reading(value=at, unit="", source="test", age_s=0.0) for key, at in reads.items()}


def held(
    board: Heat, seconds: float, others: float = 0.0, wanted: Callable[[float], float] = lambda _: 1.0
) -> list[tuple[float, Limits, Sample]]:
    """A board under a policy and as much work as it allows, `others` beside it: the die, the limits, the sample."""
    dice, policy = random.Random(3), Policy()  # noqa: S311 - repeatable, not secret
    found, now, own = [], 0.0, 0.0
    while now < seconds:
        seen = sample(sensed(board.die_c, dice), min(1.0, own + others), own)
        limits = policy.decide(RULES, seen, now)
        own = min(wanted(now), 1.0 if limits.duty is None else limits.duty, 1.0 - others)
        board.run(LOOK_S, own + others)
        now += LOOK_S
        found.append((board.die_c, limits, seen))
    return found


@pytest.mark.parametrize("ambient_c", [25.0, 35.0, 45.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_board_under_full_load_comes_close_to_the_trip_and_stays_below(ambient_c: float, seed: int) -> None:
    board = any_board(random.Random(seed))  # noqa: S311 - likewise
    board = Heat(ambient_c, board.die_k_per_w, board.die_s, board.board_k_per_w, board.board_s)
    found = held(board, 1800)
    dies = [die_c for die_c, _, _ in found]
    assert sum(die_c >= TRIP_C for die_c in dies) <= 0.001 * len(dies)
    if board.end_c(1.0) > TRIP_C:
        assert sum(dies[-300:]) / 300 >= TRIP_C - 1.5
        assert {limits.band for _, limits, _ in found} <= {"nominal", "warm", "hot", "shaped"}


def test_what_other_programs_take_is_left_to_them() -> None:
    def share(others: float) -> float:
        duties = [limits.duty for _, limits, _ in held(Heat(40.0), 1200, others)[-100:] if limits.duty]
        return sum(duties) / len(duties)

    assert share(0.3) == pytest.approx(share(0.0) - 0.3, abs=0.05)


def test_where_others_alone_heat_the_board_the_least_is_left() -> None:
    found = held(Heat(55.0), 1200, others=0.9)
    assert found[-1][1].duty == LEAST


def test_before_anything_was_learned_the_distance_to_the_trip_decides() -> None:
    policy = Policy()
    duties = [policy.decide(RULES, sample(c, 0.5, 0.5), i * 2.0).duty for i, c in enumerate((69, 74, 78, 79))]
    assert duties == [None, 0.5, LEAST, LEAST]


def test_it_ends_when_everything_was_allowed_for_the_dwell() -> None:
    policy, now = Policy(), 0.0
    policy.decide(RULES, sample(74.0, 0.5, 0.5), now)
    while now < 58.0:
        now += 2.0
        assert policy.decide(RULES, sample(60.0, 0.5, 0.5), now).duty == 1.0
    for _ in range(2):
        now += 2.0
        limits = policy.decide(RULES, sample(60.0, 0.5, 0.5), now)
    assert limits.duty is None


def test_a_share_that_moves_leaves_the_words_alone() -> None:
    policy = Policy()
    reasons = {
        policy.decide(RULES, sample(celsius, 0.5, 0.5), index * 2.0).reason
        for index, celsius in enumerate((76.0, 75.0, 76.5, 75.2))
    }
    assert len(reasons) == 1
    assert "also heat shaped" in reasons.pop()


def test_a_required_sensor_that_falls_silent_leaves_a_quarter() -> None:
    policy = Policy()
    policy.decide(RULES, sample(50.0, 0.1, 0.1), 0.0)
    for index in range(1, 4):
        limits = policy.decide(RULES, sample(None, 0.1, 0.1), index * 2.0)
    assert (limits.band, limits.duty) == ("warm", 0.25)


def test_the_same_samples_give_the_same_limits() -> None:
    found = held(Heat(40.0), 900, wanted=lambda now: 0.2 + 0.8 * (int(now / 100) % 2))
    again = Policy()
    assert [again.decide(RULES, seen, i * LOOK_S) for i, (_, _, seen) in enumerate(found)] == [
        limits for _, limits, _ in found
    ]


def test_a_sensor_that_misses_a_look_frees_nothing() -> None:
    policy = Policy()
    held_back = policy.decide(RULES, sample(75.0, 0.5, 0.5), 0.0)
    assert policy.decide(RULES, sample(None, 0.5, 0.5), 2.0) == held_back


def test_a_zone_that_is_powered_down_holds_nothing_back() -> None:
    rules = [RULES[0]._replace(required=False), *COMMON]
    policy = Policy()
    assert policy.decide(rules, sample(75.0, 0.5, 0.5), 0.0).duty is not None
    assert policy.decide(rules, sample(None, 0.5, 0.5), 2.0).duty is None


def test_without_the_load_of_the_cpu_the_distance_to_the_trip_decides() -> None:
    dice, board, policy = random.Random(2), Heat(45.0), Policy()  # noqa: S311 - likewise
    for index in range(200):
        load = float(index // 20 % 2)
        board.run(LOOK_S, load / 2)
        policy.decide(RULES, sample(sensed(board.die_c, dice), load / 2, load / 2), index * LOOK_S)
    blind = {key: reading for key, reading in sample(74.0, 0.0, 0.0).items() if key == "heat.die"}
    assert policy.decide(RULES, blind, 400.0).duty == 0.5
