from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edged.inference.residency import (
    CREDIT_S,
    GRACE_S,
    LOADING_SHARE,
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


@given(st.floats(0.01, 3.0), st.floats(0.0, 1.0))
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


def test_a_model_that_waits_gets_in_when_it_was_told() -> None:
    turnover: Turnover[str] = Turnover()
    dice, now = random.Random(1), 0.0  # noqa: S311 - repeatable, not secret
    for _ in range(200):
        turnover.displaced("a", now)
        turnover.loaded("a", dice.uniform(0.1, 2.0))
        now += turnover.ask("a", now)
        assert turnover.ask("a", now) == 0.0


def test_what_was_never_measured_is_charged_a_guess_until_it_is() -> None:
    turnover: Turnover[str] = Turnover()
    for _ in range(2):
        turnover.displaced("a", 0.0)
    turnover.displaced("b", 0.0)
    assert turnover.ask("c", 0.0) == (3 * UNMEASURED_S - CREDIT_S) / LOADING_SHARE


def test_models_come_in_in_the_order_in_which_they_were_first_asked_for() -> None:
    turnover: Turnover[str] = Turnover()
    for name in "abc":
        turnover.loaded(name, 0.5)
        turnover.displaced(name, 0.0)
        turnover.loaded(name, 0.5)
    told = {name: turnover.ask(name, 0.0) for name in "def"}
    assert list(told.values()) == sorted(told.values())
    assert turnover.ask("f", told["d"]) > 0.0
    assert turnover.ask("d", told["d"]) == 0.0
    turnover.displaced("d", told["d"])
    assert turnover.ask("e", told["d"] + UNMEASURED_S / LOADING_SHARE) == 0.0


def test_who_does_not_come_back_is_not_waited_for() -> None:
    turnover: Turnover[str] = Turnover()
    for _ in range(3):
        turnover.displaced("a", 0.0)
    gone_s = turnover.ask("gone", 0.0)
    assert turnover.ask("here", gone_s) > 0.0
    assert turnover.ask("here", gone_s + GRACE_S + 0.1) == 0.0
