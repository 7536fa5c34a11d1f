from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import NotFound, Throttled
from edged.inference.gate import DWELL_S, Cost, Gate, choose_variant
from edged.inference.manifest import Variant
from edged.limits import UNCONSTRAINED, Limits

COST = Cost(0.1, 0.1)
LADDER = [Variant(name=name, file=f"{name}.tflite", sha256="0" * 64) for name in ("f32", "int8", "tiny")]


def test_an_unconstrained_board_admits() -> None:
    Gate().admit(UNCONSTRAINED, 0, 0, COST, now=0.0)


def test_concurrency_over_the_limit_is_throttled_until_one_has_run() -> None:
    limits = Limits(concurrency=2, reason="hot: 75 °C")
    with pytest.raises(Throttled, match="hot: 75 °C") as caught:
        Gate().admit(limits, 9, 2, Cost(0.25, 0.25), now=0.0)
    assert caught.value.retry_after_s == 0.25


def test_a_priority_below_the_floor_waits_for_a_cooler_board() -> None:
    limits = Limits(priority_floor=5, reason="critical")
    with pytest.raises(Throttled, match="priority 5") as caught:
        Gate().admit(limits, 4, 0, COST, now=0.0)
    assert caught.value.retry_after_s == DWELL_S
    Gate().admit(limits, 5, 0, COST, now=0.0)


def test_a_rate_admits_its_burst_and_then_says_exactly_when_the_next_fits() -> None:
    gate, limits = Gate(), Limits(rate_hz=2.0)
    for _ in range(2):
        gate.admit(limits, 5, 0, COST, now=10.0)
    with pytest.raises(Throttled) as caught:
        gate.admit(limits, 5, 0, COST, now=10.0)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    gate.admit(limits, 5, 0, COST, now=10.5)


def test_a_rate_of_zero_admits_nothing() -> None:
    with pytest.raises(Throttled):
        Gate().admit(Limits(rate_hz=0.0), 5, 0, COST, now=0.0)


@given(st.floats(0.1, 100.0), st.lists(st.floats(0.0, 0.5), max_size=300))
def test_no_schedule_of_calls_passes_more_than_rate_and_burst(rate_hz: float, gaps: list[float]) -> None:
    gate, limits, now, admitted = Gate(), Limits(rate_hz=rate_hz), 0.0, 0
    waits: list[float] = []
    for gap in gaps:
        now += gap
        try:
            gate.admit(limits, 5, 0, COST, now)
        except Throttled as exc:
            waits.append(exc.retry_after_s * rate_hz)
        else:
            admitted += 1
    assert all(0.0 < wait <= 1.0 + 1e-9 for wait in waits)
    assert admitted <= now * rate_hz + max(1.0, rate_hz) + 1e-6


@pytest.mark.parametrize(("floor", "expected"), [(0, 0), (1, 1), (2, 2), (9, 2)])
def test_the_variant_floor_skips_the_dearest_but_never_the_last(floor: int, expected: int) -> None:
    assert choose_variant("m", LADDER, None, Limits(variant_floor=floor)) == expected


def test_a_named_variant_is_taken_where_the_limits_allow_it() -> None:
    assert choose_variant("m", LADDER, "tiny", UNCONSTRAINED) == 2
    with pytest.raises(Throttled, match="f32"):
        choose_variant("m", LADDER, "f32", Limits(variant_floor=1))
    with pytest.raises(NotFound, match="f32, int8, tiny"):
        choose_variant("m", LADDER, "huge", UNCONSTRAINED)


def test_the_share_of_the_cpu_is_spent_by_what_calls_take_on_all_its_cores() -> None:
    gate, limits = Gate(cpus=4), Limits(duty=0.5, reason="shaped")
    for _ in range(10):  # 2 CPU seconds a second
        gate.admit(limits, 5, 0, Cost(0.1, 0.2), now=0.0)
    with pytest.raises(
        Throttled, match="50% of the CPU time is for inferences, and it is spent: shaped"
    ) as caught:
        gate.admit(limits, 5, 0, Cost(0.1, 0.2), now=0.0)
    assert caught.value.retry_after_s == pytest.approx(0.1)
    gate.admit(limits, 5, 0, Cost(0.1, 0.2), now=0.1)


def test_what_a_call_really_took_is_charged_when_it_is_over() -> None:
    gate, limits = Gate(), Limits(duty=0.5)
    gate.admit(limits, 5, 0, COST, now=0.0)
    gate.settle(5, expected_cpu_s=0.1, took_cpu_s=5.0)
    with pytest.raises(Throttled) as caught:
        gate.admit(limits, 5, 0, COST, now=0.0)
    assert caught.value.retry_after_s == pytest.approx((5.0 - 0.4) / 0.5)


def test_a_flood_of_a_lower_priority_does_not_keep_a_higher_one_out() -> None:
    gate, limits, refused = Gate(), Limits(duty=0.2), 0
    for tick in range(1000):  # 1 CPU second a second wanted by the flood, 0.1 by the others
        now = tick / 10
        try:
            gate.admit(limits, 5, 0, COST, now)
        except Throttled:
            refused += 1
        if tick % 10 == 0:
            gate.admit(limits, 9, 0, COST, now)
    assert 850 <= refused <= 910
