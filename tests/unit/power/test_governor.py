from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.limits import UNCONSTRAINED, Limits
from edged.power.bands import ALLOWED, BATTERY, COMMON, Rule, Trigger, heat
from edged.power.governor import NOTHING, State, level, step
from edged.power.governor import bands as bands_of
from edged.power.readings import Reading
from tests.rig import board_oracle

DIE = Rule("heat.die", "heat", heat(80.0), required=True, unit=" °C")
CELL = Rule("battery.reserve", "battery", BATTERY, falling=True, required=True, unit=" %")


def sample(**reads: float | None) -> dict[str, Reading]:
    """Readings by their key, with _ for the dot."""
    return {
        key.replace("_", "."): Reading(value=at, unit="", source="test", age_s=0.0)
        for key, at in reads.items()
    }


def bands(rule: Rule, reads: Iterable[float | None], every_s: float = 2.0) -> list[str]:
    """The band after each reading."""
    state: State = NOTHING
    found = []
    for index, at in enumerate(reads):
        state, limits = step([rule], state, sample(**{rule.reading.replace(".", "_"): at}), index * every_s)
        found.append(limits.band)
    return found


def changes(found: Sequence[str]) -> int:
    return sum(a != b for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("reads", "band"),
    [
        (67.9, "nominal"),
        (68, "warm"),
        (73.9, "warm"),
        (74, "hot"),
        (80.9, "hot"),
        (81, "critical"),
        (120, "critical"),
    ],
)
def test_a_pi_4_is_warm_from_68_hot_from_74_and_critical_from_81(reads: float, band: str) -> None:
    assert bands(DIE, [reads]) == [band]


@pytest.mark.parametrize(
    ("reads", "band"), [(51, "nominal"), (50, "saving"), (20, "low"), (10, "critical"), (0, "critical")]
)
def test_a_battery_saves_from_50_and_is_low_from_20_and_critical_from_10(reads: float, band: str) -> None:
    assert bands(CELL, [reads]) == [band]


def test_upward_is_at_once_and_over_any_number_of_bands() -> None:
    assert bands(DIE, [50, 90]) == ["nominal", "critical"]


def test_downward_waits_for_the_dwell_and_then_goes_as_far_as_it_stayed_better() -> None:
    found = bands(DIE, [82, *[68.5] * 31, *[50.0] * 31])
    assert found[:31] == ["critical"] * 31
    assert found[31] == "warm"  # below what hot and critical are left at, above what warm is
    assert found[-1] == "nominal"
    assert changes(found) == 2


def test_a_moment_back_in_the_band_starts_the_dwell_again() -> None:
    found = bands(DIE, [82, *[60.0] * 29, 77, *[60.0] * 31])
    assert found[:61] == ["critical"] * 61
    assert found[61] == "nominal"


@pytest.mark.parametrize("trip", [68.0, 74.0, 81.0, 63.0, 69.0, 76.0])
def test_a_triangle_of_one_degree_at_any_trip_is_one_transition(trip: float) -> None:
    """At the three that enter a band and the three that leave one, starting from the band the trip is about."""
    start = {63.0: 68.0, 69.0: 74.0, 76.0: 81.0}.get(trip, 50.0)
    wave = [trip + (abs((i % 8) - 4) - 2) / 2 for i in range(400)]
    found = bands(DIE, [start, *wave])
    from_start = found if trip in {68.0, 74.0, 81.0} else found[1:]
    assert changes(from_start) <= 1


@pytest.mark.parametrize("period", [4, 20, 60, 200])
def test_a_triangle_around_a_trip_does_not_flap_at_any_period(period: int) -> None:
    half = period / 2
    wave = [74 + (abs((i % period) - half) / half * 2 - 1) for i in range(600)]
    assert changes(bands(DIE, [50.0, *wave])) <= 2  # nominal, then once warm where it begins below, then hot


def test_a_spike_of_one_sample_costs_one_dwell_and_no_more() -> None:
    found = bands(DIE, [50, 95, *[50.0] * 40])
    assert found[1] == "critical"
    assert found[-1] == "nominal"
    assert changes(found) == 2


def test_three_silent_samples_of_a_required_sensor_count_one_band_up() -> None:
    assert bands(DIE, [50, None, None, None]) == ["nominal", "nominal", "nominal", "warm"]
    assert bands(DIE, [75, None, None, None]) == ["hot", "hot", "hot", "critical"]
    assert bands(DIE, [82, None, None, None, None]) == ["critical"] * 5


def test_a_sensor_that_comes_back_is_believed_after_the_dwell() -> None:
    found = bands(DIE, [50, None, None, None, *[50.0] * 31])
    assert found[3:33] == ["warm"] * 30
    assert found[-1] == "nominal"


def test_what_was_never_heard_limits_nothing() -> None:
    assert set(bands(DIE, [None] * 10)) == {"nominal"}


def test_what_is_not_required_may_be_silent() -> None:
    assert set(bands(DIE._replace(required=False), [50, *[None] * 10])) == {"nominal"}


def test_unplugging_at_nine_percent_is_critical_at_once_and_plugging_in_eases_after_the_dwell() -> None:
    reserve = [100.0, 100.0, 9.0, 9.0, *[100.0] * 31]  # on mains the reserve is full
    found = bands(CELL, reserve)
    assert found[1:3] == ["nominal", "critical"]
    assert found[-1] == "nominal"


def test_the_tightest_of_all_counts_and_the_words_name_reading_and_band() -> None:
    _, limits = step([DIE, CELL], NOTHING, sample(heat_die=69.0, battery_reserve=15.0), 0.0)
    assert limits.concurrency == min(ALLOWED["heat"][1].concurrency, ALLOWED["battery"][2].concurrency)
    assert (limits.band, limits.cause) == ("low", "battery")
    assert limits.reason == (
        "low: battery.reserve fell to 15 %; back beyond 25 % for the dwell time; also heat warm"
    )


def test_every_cause_has_its_band_though_only_the_tightest_decides() -> None:
    other = DIE._replace(reading="heat.other")
    reads = sample(heat_die=69.0, heat_other=75.0, battery_reserve=15.0)
    state, _ = step([DIE, other, CELL], NOTHING, reads, 0.0)
    assert bands_of([DIE, other, CELL], state) == {"heat": "hot", "battery": "low"}
    assert bands_of([DIE, CELL], NOTHING) == {}


def test_limits_stay_equal_while_the_band_does() -> None:
    state, first = step([DIE], NOTHING, sample(heat_die=70.123), 0.0)
    _, second = step([DIE], state, sample(heat_die=71.9), 2.0)
    assert first == second


@pytest.mark.parametrize("cause", sorted(ALLOWED))
def test_no_level_is_laxer_than_the_one_before(cause: str) -> None:
    for milder, harder in zip(ALLOWED[cause], ALLOWED[cause][1:], strict=False):  # type: ignore[index] # a key of it
        assert no_laxer(harder, milder)


def no_laxer(harder: Limits, milder: Limits) -> bool:
    infinite = float("inf")
    return (
        harder.concurrency <= milder.concurrency
        and (harder.rate_hz or infinite) <= (milder.rate_hz or infinite)
        and (harder.duty or infinite) <= (milder.duty or infinite)
        and harder.variant_floor >= milder.variant_floor
        and harder.priority_floor >= milder.priority_floor
        and harder.telemetry_interval_s >= milder.telemetry_interval_s
        and harder.updates_allowed <= milder.updates_allowed
        and (harder.threads_max or 99) <= (milder.threads_max or 99)
        and harder.memory_share <= milder.memory_share
    )


reads = st.one_of(st.none(), st.floats(20, 110))
traces = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 5.0, 30.0]), reads), min_size=1, max_size=120)


@given(traces, st.sampled_from([DIE, CELL, DIE._replace(required=False)]))
def test_every_trace_gives_what_its_whole_history_asks_for(
    trace: list[tuple[float, float | None]], rule: Rule
) -> None:
    state: State = NOTHING
    history: list[board_oracle.Moment] = []
    now = 0.0
    for gap, at in trace:
        now += gap
        history.append((now, at))
        state, _ = step([rule], state, sample(**{rule.reading.replace(".", "_"): at}), now)
        assert level(rule, state[rule.reading]) == board_oracle.level(rule, history, 60.0)


@given(traces)
def test_a_replay_decides_the_same(trace: list[tuple[float, float | None]]) -> None:
    def decide() -> list[Limits]:
        state, now, found = NOTHING, 0.0, []
        for gap, at in trace:
            now += gap
            state, limits = step([DIE, *COMMON], state, sample(heat_die=at, memory_available=at), now)
            found.append(limits)
        return found

    assert decide() == decide()


@given(st.lists(st.tuples(st.floats(20, 110), st.floats(0, 20)), min_size=1, max_size=80))
def test_a_hotter_trace_never_gets_more_work(pairs: list[tuple[float, float]]) -> None:
    cooler: State = NOTHING
    hotter: State = NOTHING
    for index, (base, extra) in enumerate(pairs):
        cooler, lax = step([DIE], cooler, sample(heat_die=base), index * 2.0)
        hotter, strict = step([DIE], hotter, sample(heat_die=base + extra), index * 2.0)
        assert no_laxer(strict, lax)


@given(traces)
def test_it_eases_no_more_than_once_a_dwell(trace: list[tuple[float, float | None]]) -> None:
    state, now, before, eased_at = NOTHING, 0.0, UNCONSTRAINED, []
    for gap, at in trace:
        now += gap
        state, limits = step([DIE], state, sample(heat_die=at), now)
        if limits.concurrency > before.concurrency:
            eased_at.append(now)
        before = limits
    assert len(eased_at) <= 3 * (now // 60 + 1)


def test_the_heat_bands_hang_on_the_throttling_point() -> None:
    triggers: list[Trigger] = [(s.enter, s.leave) for s in heat(99.0)]
    assert triggers == [(87.0, 82.0), (93.0, 88.0), (100.0, 95.0)]
