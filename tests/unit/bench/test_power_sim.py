"""The simulation behind bench/results/power.md: the same for everybody, and the same again."""

from __future__ import annotations

import pytest

from bench.power_sim import heat
from bench.power_sim.board import CRITICAL
from bench.power_sim.heat import HOT_SHARE, Day, run
from bench.power_sim.policies import Bands, Cap, Edged
from bench.power_sim.table import interval, markdown


@pytest.mark.parametrize("policy", [Cap, Bands, Edged])
def test_a_seed_gives_the_same_day_again(policy: type[Cap | Bands | Edged]) -> None:
    day = Day("mixed", "45", 3, minutes=2.0)
    assert run(policy(), day) == run(policy(), day)


def test_every_policy_is_asked_for_the_same() -> None:
    day = Day("mixed", "45", 5, minutes=2.0)
    asked = [{at: t.asked for at, t in run(p, day).by_priority.items()} for p in (Cap(), Cap(0.1))]
    assert asked[0] == asked[1]


def test_a_hot_saturated_board_stays_below_the_trip_does_more_than_by_bands_and_answers_what_is_critical() -> (
    None
):
    day = Day("mixed", "45", 0, minutes=8.0)
    ours, bands, nothing = run(Edged(), day), run(Bands(), day), run(Cap(), day, fifo=True)
    assert ours.hot_s <= HOT_SHARE * ours.seconds
    assert ours.answers > bands.answers
    assert ours.tally(CRITICAL).percent >= 99.0
    assert nothing.tally(CRITICAL).percent < 50.0
    assert nothing.hot_s > 0.5 * nothing.seconds


def test_the_oracle_is_the_best_fixed_cap() -> None:
    cap = heat.fixed_cap("saturating", "45", 0, 5.0)
    day = Day("saturating", "45", 0, 5.0)
    counted = run(Cap(cap), day)
    assert counted.hot_s <= HOT_SHARE * counted.seconds
    warmer = run(Cap(cap + 0.05), day)
    assert warmer.hot_s > HOT_SHARE * warmer.seconds


def test_a_table_says_means_with_their_intervals() -> None:
    assert interval([1.0, 1.0]) == "1.00 ±0.00"
    assert interval([0.0, 1.0]) == "0.50 ±6.36"
    assert markdown(["a"], [["1"]]) == "| a |\n| --- |\n| 1 |"
