from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.metrics import LARGEST_US, Histogram, Tally

DURATIONS_MS = st.floats(min_value=0.0, max_value=1e7, allow_nan=False)


def test_an_empty_histogram_says_zero() -> None:
    summary = Histogram().summary()
    assert (summary.count, summary.mean_ms, summary.p50_ms, summary.max_ms) == (0, 0.0, 0.0, 0.0)


@given(st.lists(DURATIONS_MS, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_a_thirtysecond_of_the_exact_one(durations: list[float], q: float) -> None:
    histogram = Histogram()
    for ms in durations:
        histogram.record(ms)
    exact = float(np.quantile([int(ms * 1e3) for ms in durations], q, method="inverted_cdf")) / 1e3
    assert histogram.quantile_ms(q) == pytest.approx(exact, rel=1 / 31, abs=1e-9)


@given(st.lists(DURATIONS_MS, min_size=1))
def test_quantiles_never_fall_and_never_pass_the_largest(durations: list[float]) -> None:
    histogram = Histogram()
    for ms in durations:
        histogram.record(ms)
    summary = histogram.summary()
    assert summary.p50_ms <= summary.p95_ms <= summary.p99_ms <= summary.max_ms
    assert summary.count == len(durations)


@pytest.mark.parametrize("ms", [-5.0, 1e12, LARGEST_US / 1e3])
def test_times_past_either_end_are_kept_at_the_end(ms: float) -> None:
    histogram = Histogram()
    histogram.record(ms)
    assert histogram.count == 1
    assert 0.0 <= histogram.quantile_ms(1.0) <= LARGEST_US / 1e3


@given(st.lists(DURATIONS_MS, max_size=50), st.lists(DURATIONS_MS, min_size=1, max_size=50))
def test_what_came_since_a_mark_is_told_without_what_was_before(
    before: list[float], after: list[float]
) -> None:
    both, alone = Histogram(), Histogram()
    for ms in before:
        both.record(ms)
    mark = both.mark()
    for ms in after:
        both.record(ms)
        alone.record(ms)
    told = both.since(mark, 0.5, 0.99)
    assert told is not None
    assert told == pytest.approx((alone.quantile_ms(0.5), alone.quantile_ms(0.99)), rel=1 / 31, abs=1e-3)


def test_nothing_is_told_of_a_time_without_events() -> None:
    histogram = Histogram()
    histogram.record(5.0)
    assert histogram.since(histogram.mark(), 0.5) is None
    assert histogram.since(None, 0.5) == (histogram.quantile_ms(0.5),)


def test_a_tally_counts_by_name() -> None:
    tally = Tally()
    tally.add("answered")
    tally.add("answered", 2)
    assert tally["answered"] == 3
    assert tally["never"] == 0
    assert tally.by_name() == {"answered": 3}


def test_a_caller_inventing_names_does_not_grow_a_tally() -> None:
    tally = Tally(names_max=8)
    for name in range(10_000):
        tally.add(f"made-up-{name}")
    assert len(tally.by_name()) == 9
    assert tally["other"] == 10_000 - 8
