from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.links.mqtt.backoff import CLOSED_TIMES, CLOSED_WITHIN_S, Rivalry, keep_away_s, pause_s
from edged.links.mqtt.brokers import SETTLED_S, Brokers

BACK_S = 600.0
LONG_S = SETTLED_S + 1


def test_the_first_is_tried_first_and_then_the_others_in_order() -> None:
    brokers = Brokers(3, BACK_S)
    tried = []
    for now in range(3):
        index, fresh = brokers.choose()
        tried.append((index, fresh))
        brokers.failed(index, now)
    assert tried == [(0, True), (1, True), (2, True)]


def test_when_all_have_failed_the_one_that_failed_longest_ago_is_tried_after_a_pause() -> None:
    brokers = Brokers(3, BACK_S)
    for now, index in enumerate((0, 1, 2, 0)):
        brokers.failed(index, now)
    assert brokers.choose() == (1, False)


def test_a_silent_broker_is_left_at_once_and_a_closed_connection_is_tried_once_more_where_it_was() -> None:
    brokers = Brokers(2, BACK_S)
    brokers.connected(0)
    brokers.lost(0, 100, LONG_S, silent=False)
    assert brokers.choose() == (0, True)
    brokers.lost(0, 200, LONG_S, silent=True)
    assert brokers.choose() == (1, True)


def test_a_broker_that_ends_every_connection_soon_is_left() -> None:
    brokers = Brokers(2, BACK_S)
    brokers.connected(0)
    brokers.lost(0, 100, SETTLED_S / 2, silent=False)
    assert brokers.choose() == (1, True)


def test_who_is_on_the_second_stays_there_when_it_restarts() -> None:
    brokers = Brokers(2, BACK_S)
    brokers.failed(0, 0)
    brokers.connected(1)
    brokers.lost(1, 100, LONG_S, silent=False)
    assert brokers.choose() == (1, True)


def test_the_first_is_gone_back_to_after_ten_minutes_of_answers_and_not_before() -> None:
    brokers = Brokers(2, BACK_S)
    brokers.failed(0, 0)
    brokers.connected(1)
    assert [brokers.answered(0, now) for now in (60, 120, 659)] == [False, False, False]
    assert brokers.choose() == (1, True)
    assert brokers.answered(0, 660)
    assert brokers.choose() == (0, True)


def test_one_failed_trial_starts_the_ten_minutes_again() -> None:
    brokers = Brokers(2, BACK_S)
    brokers.failed(0, 0)
    brokers.connected(1)
    brokers.answered(0, 60)
    brokers.failed(0, 500)
    assert not brokers.answered(0, 700)
    assert not brokers.answered(0, 1200)
    assert brokers.answered(0, 1300)


def test_only_better_ones_are_tried_meanwhile() -> None:
    assert list(Brokers(3, BACK_S).better(2)) == [0, 1]
    assert list(Brokers(3, BACK_S).better(0)) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["failed", "connected", "lost", "answered"]), st.integers(0, 3), st.booleans()
        )
    )
)
def test_whatever_happens_there_is_a_broker_to_try_and_a_pause_only_when_all_have_failed(
    events: list[tuple[str, int, bool]],
) -> None:
    brokers = Brokers(4, BACK_S)
    failed: set[int] = set()
    for now, (what, index, silent) in enumerate(events):
        if what == "failed":
            brokers.failed(index, now)
            failed.add(index)
        elif what == "connected":
            brokers.connected(index)
            failed.discard(index)
        elif what == "lost":
            brokers.lost(index, now, LONG_S, silent=silent)
            failed |= {index} if silent else set()
        elif brokers.answered(index, now):
            failed.discard(index)
        chosen, fresh = brokers.choose()
        assert fresh == (len(failed) < 4)
        assert chosen == min(set(range(4)) - failed) if fresh else chosen in failed


@pytest.mark.parametrize(("failures", "most"), [(0, 1), (1, 2), (5, 32), (6, 60), (1000, 60)])
def test_pauses_are_spread_from_nothing_to_a_bound_that_doubles(failures: int, most: float) -> None:
    assert pause_s(failures, 0.0, 60.0) == 0
    assert pause_s(failures, 0.5, 60.0) == most / 2
    assert pause_s(failures, 0.999, 60.0) < most


def test_who_was_thrown_out_never_comes_back_early() -> None:
    assert keep_away_s(0, 0.0, 120) == 120
    assert keep_away_s(3, 0.0, 120) == 960
    assert keep_away_s(99, 0.999, 120) < 3 * 32 * 120


def test_a_rival_is_suspected_when_connections_are_closed_again_and_again_and_not_when_brokers_restart() -> (
    None
):
    rivalry = Rivalry()
    assert [rivalry.suspected(now, said=False) for now in range(CLOSED_TIMES)][-1]
    rarely = Rivalry()
    assert not any(rarely.suspected(now * CLOSED_WITHIN_S, said=False) for now in range(20))


def test_a_rival_that_the_broker_names_is_believed() -> None:
    assert Rivalry().suspected(0, said=True)
