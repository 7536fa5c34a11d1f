from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import NotFound, Throttled
from edged.inference.gate import DWELL_S, Gate, Resident, choose_variant, to_unload
from edged.inference.manifest import Variant
from edged.limits import UNCONSTRAINED, Limits

LADDER = [Variant(name=name, file=f"{name}.tflite", sha256="0" * 64) for name in ("f32", "int8", "tiny")]


def test_an_unconstrained_board_admits() -> None:
    Gate().admit(UNCONSTRAINED, priority=0, in_daemon=0, service_s=0.1, now=0.0)


def test_concurrency_over_the_limit_is_throttled_until_one_has_run() -> None:
    limits = Limits(concurrency=2, reason="hot: 75 °C")
    with pytest.raises(Throttled, match="hot: 75 °C") as caught:
        Gate().admit(limits, priority=9, in_daemon=2, service_s=0.25, now=0.0)
    assert caught.value.retry_after_s == 0.25


def test_a_priority_below_the_floor_waits_for_a_cooler_board() -> None:
    limits = Limits(priority_floor=5, reason="critical")
    with pytest.raises(Throttled, match="priority 5") as caught:
        Gate().admit(limits, priority=4, in_daemon=0, service_s=0.1, now=0.0)
    assert caught.value.retry_after_s == DWELL_S
    Gate().admit(limits, priority=5, in_daemon=0, service_s=0.1, now=0.0)


def test_a_rate_admits_its_burst_and_then_says_exactly_when_the_next_fits() -> None:
    gate, limits = Gate(), Limits(rate_hz=2.0)
    for _ in range(2):
        gate.admit(limits, 5, 0, 0.1, now=10.0)
    with pytest.raises(Throttled) as caught:
        gate.admit(limits, 5, 0, 0.1, now=10.0)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    gate.admit(limits, 5, 0, 0.1, now=10.5)


def test_a_rate_of_zero_admits_nothing() -> None:
    with pytest.raises(Throttled):
        Gate().admit(Limits(rate_hz=0.0), 5, 0, 0.1, now=0.0)


@given(st.floats(0.1, 100.0), st.lists(st.floats(0.0, 0.5), max_size=300))
def test_no_schedule_of_calls_passes_more_than_rate_and_burst(rate_hz: float, gaps: list[float]) -> None:
    gate, limits, now, admitted = Gate(), Limits(rate_hz=rate_hz), 0.0, 0
    waits: list[float] = []
    for gap in gaps:
        now += gap
        try:
            gate.admit(limits, 5, 0, 0.1, now)
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


def test_the_least_recently_used_idle_model_leaves_first() -> None:
    residents = [
        Resident("new", 10, 3.0, True),
        Resident("old", 10, 1.0, True),
        Resident("busy", 10, 0.0, False),
    ]
    assert to_unload(residents, 10, 30) == ["old"]
    assert to_unload(residents, 20, 30) == ["old", "new"]
    assert to_unload(residents, 21, 30) is None
    assert to_unload(residents, 0, 30) == []


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 100), st.booleans()), max_size=12),
    st.integers(0, 100),
    st.integers(1, 200),
)
def test_unloading_makes_exactly_the_room_needed_and_spares_models_at_work(
    drawn: list[tuple[int, float, bool]], need: int, budget: int
) -> None:
    residents = [Resident(index, size, used, idle) for index, (size, used, idle) in enumerate(drawn)]
    leave = to_unload(residents, need, budget)
    if leave is None:
        assert sum(r.memory_bytes for r in residents if not r.idle) + need > budget
        return
    assert all(residents[index].idle for index in leave if isinstance(index, int))
    stay = [r for r in residents if r.key not in leave]
    assert sum(r.memory_bytes for r in stay) + need <= budget or not leave
    if leave:
        last = next(r for r in residents if r.key == leave[-1])
        assert sum(r.memory_bytes for r in stay) + last.memory_bytes + need > budget
