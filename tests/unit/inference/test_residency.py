from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.inference.residency import (
    CREDIT_S,
    GRACE_S,
    LOADING_SHARE,
    LONGEST_S,
    TOLD_S,
    UNMEASURED_S,
    Resident,
    Turnover,
    to_unload,
)


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


@given(st.floats(0.01, LONGEST_S), st.floats(0.0, 1.0))
def test_loading_stays_below_its_share_of_the_time_whatever_is_asked_for(
    took_s: float, pause_s: float
) -> None:
    turnover: Turnover[int] = Turnover()
    now, spent_s, loads = 0.0, 0.0, 0
    while now < 600.0:
        if (wait_s := turnover.ask(loads % 10, now)) > 0.0:
            now += wait_s + pause_s
            continue
        turnover.displaced(loads % 10, now)
        now += took_s
        turnover.loaded(loads % 10, took_s)
        spent_s, loads = spent_s + took_s, loads + 1
    assert loads
    assert spent_s <= LOADING_SHARE * now + CREDIT_S + took_s + 1e-6


def waited(turnover: Turnover[str], key: str, now: float) -> float:
    """When `key`, that always comes back when told, gets in."""
    while told_s := turnover.ask(key, now):
        assert told_s <= TOLD_S
        now += told_s
    return now


def test_who_comes_back_when_told_gets_in_as_soon_as_loading_has_paid_for_itself() -> None:
    turnover: Turnover[str] = Turnover()
    dice, now = random.Random(1), 0.0  # noqa: S311 - repeatable, not secret
    turnover.loaded("a", CREDIT_S)
    for _ in range(200):
        took_s = dice.uniform(0.1, 2.0)
        turnover.displaced("a", now)
        turnover.loaded("a", took_s)
        until = waited(turnover, "a", now)
        assert until <= now + took_s / LOADING_SHARE + 1e-6
        now = until


def test_models_come_in_in_the_order_in_which_they_were_first_asked_for() -> None:
    turnover: Turnover[str] = Turnover()
    for _ in range(3):
        turnover.displaced("a", 0.0)
    now, came = 0.0, []
    names = list("defgh")
    while names:
        for name in names[::-1] if now else names:  # the last shout first
            if turnover.ask(name, now) == 0.0:
                turnover.displaced(name, now)
                turnover.loaded(name, 0.5)
                came.append(name)
                names.remove(name)
                break
        now += 1.0
    assert came == list("defgh")


def test_who_does_not_come_back_is_not_waited_for() -> None:
    turnover: Turnover[str] = Turnover()
    for _ in range(3):
        turnover.displaced("a", 0.0)
    turnover.ask("gone", 0.0)
    paid_s = (3 * UNMEASURED_S - CREDIT_S) / LOADING_SHARE
    now = TOLD_S + GRACE_S + 0.1
    assert waited(turnover, "here", now) == pytest.approx(max(now, paid_s), abs=TOLD_S)


def test_what_was_never_measured_is_charged_a_guess_until_it_is() -> None:
    turnover: Turnover[str] = Turnover()
    for _ in range(3):
        turnover.displaced("a", 0.0)
    assert waited(turnover, "c", 0.0) == pytest.approx((3 * UNMEASURED_S - CREDIT_S) / LOADING_SHARE)
