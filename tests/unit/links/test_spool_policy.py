"""What the spool sends first, what it lets go, and what a day may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.links.spool.policy import (
    DAY_S,
    RULES,
    Day,
    Held,
    Pace,
    joined,
    size,
    to_free,
    today,
    until_tomorrow_s,
    victims,
)
from edged.links.spool.values import Gap, Kind, Record, Row

BUDGET = 10_000
NOON = 20_000 * DAY_S + DAY_S / 2


def record(kind: Kind, payload: int = 100) -> Record:
    return Record(id="i", kind=kind, topic="t", payload=bytes(payload), content_type="")


def row(seq: int, size: int = 10) -> Row:
    return Row(seq=seq, put_s=100.0 + seq, size=size, record=record(Kind.TELEMETRY))


def test_alerts_go_before_outcomes_of_configs_before_audit_before_telemetry() -> None:
    order = sorted(Kind, key=lambda kind: RULES[kind].priority)
    assert order == [Kind.ALERT, Kind.CONFIG, Kind.AUDIT, Kind.TELEMETRY]
    assert [kind for kind in Kind if not RULES[kind].kept] == [Kind.TELEMETRY]


@pytest.mark.parametrize(
    ("payload", "due"), [(0, 83), (100, 188), (1900, 2073), (2100, 4121), (4100, 4633), (8500, 8729)]
)
def test_a_record_counts_with_its_share_of_the_pages_it_is_on(payload: int, due: int) -> None:
    assert size(record(Kind.ALERT, payload)) == due


@pytest.mark.parametrize(
    ("held", "kind", "due"),
    [
        (Held(0, 0), Kind.TELEMETRY, 0),
        (Held(0, 9_800), Kind.TELEMETRY, 0),
        (Held(0, 9_900), Kind.TELEMETRY, 156),  # a 64th of the budget at least
        (Held(9_900, 0), Kind.TELEMETRY, None),
        (Held(0, 10_000), Kind.ALERT, 188),
        (Held(7_900, 2_000), Kind.ALERT, None),  # the last fifth is not for alerts
        (Held(7_900, 2_000), Kind.CONFIG, 156),
        (Held(8_900, 0), Kind.CONFIG, None),  # the last tenth is for audit alone
        (Held(9_700, 200), Kind.AUDIT, 156),
        (Held(9_900, 0), Kind.AUDIT, None),
    ],
)
def test_telemetry_makes_room_and_what_must_not_be_lost_is_refused_before_it_is_taken(
    held: Held, kind: Kind, due: int | None
) -> None:
    assert to_free([record(kind)], held, BUDGET) == due


KINDS = st.sampled_from(sorted(Kind))


@given(
    st.integers(0, BUDGET),
    st.integers(0, BUDGET),
    st.lists(st.tuples(KINDS, st.integers(0, 3000)), max_size=5),
)
def test_the_budget_holds_and_never_more_telemetry_goes_than_there_is(
    kept: int, loose: int, puts: list[tuple[Kind, int]]
) -> None:
    loose = min(loose, BUDGET - kept)
    records = [record(kind, payload) for kind, payload in puts]
    free = to_free(records, Held(kept, loose), BUDGET)
    total = sum(map(size, records))
    if free is None:
        return
    assert 0 <= free <= loose
    assert kept + loose - free + total <= BUDGET


def test_the_oldest_go_first_and_only_as_many_as_needed() -> None:
    gap = victims(map(row, range(5, 100, 2)), 35, "evicted")
    assert gap == Gap(reason="evicted", first_seq=5, last_seq=11, first_s=105, last_s=111, count=4, size=40)
    assert victims([], 35, "evicted") is None


@given(st.lists(st.integers(1, 10**6), min_size=2, unique=True), st.data())
def test_joined_gaps_cover_both_whatever_their_order(seqs: list[int], data: st.DataObject) -> None:
    split = data.draw(st.integers(1, len(seqs) - 1))
    one = victims(map(row, sorted(seqs[:split])), 1 << 60, "evicted")
    other = victims(map(row, sorted(seqs[split:])), 1 << 60, "evicted")
    assert one
    assert other
    assert joined(one, other) == joined(other, one) == victims(map(row, sorted(seqs)), 1 << 60, "evicted")


def started(now: float = NOON) -> Day:
    return today(Day(), now, 50.0)


def spent(day: Day, by: int) -> Day:
    return Day(number=day.number, spent=by, wall_s=day.wall_s, monotonic_s=day.monotonic_s, left_s=day.left_s)


def test_what_was_spent_is_forgotten_at_midnight() -> None:
    day = spent(started(), 7)
    assert until_tomorrow_s(day) == DAY_S / 2
    evening = today(day, NOON + DAY_S / 2 - 1, 50.0 + DAY_S / 2 - 1)
    assert (evening.spent, evening.number) == (7, 20_000)
    assert today(evening, NOON + DAY_S / 2, 50.0 + DAY_S / 2).spent == 0


@pytest.mark.parametrize("jump_s", [-1e9, -DAY_S, DAY_S, 40 * DAY_S, 1e9])
def test_a_clock_that_is_set_neither_grants_nor_takes(jump_s: float) -> None:
    day = today(spent(started(), 7), NOON + jump_s + 1, 51.0)
    assert (day.spent, day.number) == (7, int((NOON + jump_s + 1) // DAY_S))
    again = today(day, NOON + jump_s + DAY_S - 1, 49.0 + DAY_S)
    assert again.spent == 0, "the midnight of the new clock comes by itself"


def test_a_clock_that_is_set_back_every_hour_still_ends_the_day_after_a_day_of_running() -> None:
    day = spent(started(), 7)
    for hour in range(1, 24):
        day = today(day, NOON, 50.0 + hour * 3600)
        assert day.spent == 7
    assert today(day, NOON, 50.0 + DAY_S).spent == 0


@pytest.mark.parametrize(("later_s", "due"), [(60, 7), (DAY_S, 0), (-20_000 * DAY_S, 7)])
def test_across_a_restart_a_later_date_is_believed_and_an_earlier_one_is_not(
    later_s: float, due: int
) -> None:
    kept = Day(number=20_000, spent=7, wall_s=NOON, left_s=500.0)
    assert today(kept, NOON + later_s, 3.0).spent == due


@given(st.lists(st.tuples(st.floats(0, 7200), st.floats(-1e9, 1e9)), max_size=60))
def test_however_the_clock_lies_a_day_of_running_grants_few_budgets(steps: list[tuple[float, float]]) -> None:
    day, wall_s, monotonic_s, grants = spent(started(), 1), NOON, 50.0, 0
    for elapsed_s, jump_s in steps:
        monotonic_s += elapsed_s
        wall_s += elapsed_s + (jump_s if abs(jump_s) > 61 else 0)
        before, day = day, today(day, wall_s, monotonic_s)
        grants += day.spent < before.spent
        day = spent(day, 1)
    honest = sum(elapsed_s for elapsed_s, _ in steps) / DAY_S
    assert grants <= honest + 1 + sum(abs(jump_s) > 61 for _, jump_s in steps)


def test_a_pace_lets_a_burst_go_and_then_its_rate() -> None:
    pace = Pace(0, 0).filled(2.0, 16, 100.0)
    assert pace.level == 16
    assert pace.spent(16).wait_s(2.0) == 0.5
    assert pace.spent(16).filled(2.0, 16, 101.0).level == 2.0
    assert pace.spent(16).filled(2.0, 16, 99.0).level == 0.0, "never less for a clock that stands"
