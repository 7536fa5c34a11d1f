from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from edged.inference.budget import BURST_S, Budget

rates = st.floats(0.01, 10.0)
calls = st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 9), st.floats(0.01, 3.0)), max_size=200)


def test_without_a_rate_everything_fits() -> None:
    budget = Budget()
    budget.adopt(None, 0.0)
    assert budget.short_s(0, 1e9, 0.0) == 0.0


def test_with_a_rate_of_nothing_nothing_ever_fits() -> None:
    budget = Budget(least=1.0)
    budget.adopt(0.0, 0.0)
    assert budget.short_s(9, 1.0, 1e9) == inf


@given(rates, calls)
def test_a_priority_and_those_above_it_spend_no_more_than_rate_and_burst(
    rate: float, wanted: list[tuple[float, int, float]]
) -> None:
    budget, now = Budget(), 0.0
    budget.adopt(rate, now)
    spent = [0.0] * 10
    for gap, priority, cost in wanted:
        now += gap
        if budget.short_s(priority, cost, now) == 0.0:
            budget.spend(priority, cost)
            for index in range(priority + 1):
                spent[index] += cost
    for priority in range(10):
        most = sum(rate * (now + BURST_S[above]) for above in range(9, 10)) + sum(
            rate * BURST_S[above] for above in range(priority, 9)
        )
        assert spent[priority] <= most + 10 * 3.0 + 1e-6


@given(rates, calls)
def test_what_lower_priorities_spend_never_delays_a_higher_one(
    rate: float, wanted: list[tuple[float, int, float]]
) -> None:
    alone, among, now = Budget(), Budget(), 0.0
    alone.adopt(rate, now)
    among.adopt(rate, now)
    for gap, priority, cost in wanted:
        now += gap
        if priority < 9:
            among.spend(priority, cost)
            continue
        assert alone.short_s(9, cost, now) == among.short_s(9, cost, now)
        if alone.short_s(9, cost, now) == 0.0:
            alone.spend(9, cost)
            among.spend(9, cost)


@given(rates, st.integers(0, 9), st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30))
def test_who_comes_back_when_told_is_let_in(rate: float, priority: int, costs: list[float]) -> None:
    budget, now = Budget(), 0.0
    budget.adopt(rate, now)
    for cost in costs:
        now += budget.short_s(priority, cost, now)
        assert budget.short_s(priority, cost, now) == 0.0
        budget.spend(priority, cost)


def test_a_call_dearer_than_a_whole_bucket_fits_when_that_is_full() -> None:
    budget = Budget()
    budget.adopt(0.1, 0.0)
    assert budget.short_s(5, 10.0, 0.0) == 0.0
    budget.spend(5, 10.0)
    assert budget.short_s(5, 10.0, 0.0) == 100.0
    assert budget.short_s(9, 10.0, 0.0) == 0.0
