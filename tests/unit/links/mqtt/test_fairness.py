"""However much one client sends, each other waits for one of its messages at most, and none is reordered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edged.links.mqtt.fairness import QUEUES_MAX, WAITING_MAX, WAITING_MAX_BYTES, Fairness, Turn


def together() -> Fairness[int]:
    fairness: Fairness[int] = Fairness()
    fairness.arrive("other", 0, 1, 0)
    return fairness


def test_alone_everything_is_handled_at_once() -> None:
    fairness: Fairness[int] = Fairness()
    assert {fairness.arrive("a", n, 1, n / 1e5) for n in range(10_000)} == {Turn.NOW}
    assert not fairness.turning


def test_who_sends_little_is_never_kept_waiting_by_who_sends_much() -> None:
    fairness = together()
    for turn in range(100):
        for n in range(50):
            fairness.arrive("flood", n, 1, turn / 1000)
        assert fairness.arrive("honest", turn, 1, turn / 1000) is Turn.NOW
        assert fairness.turning
        assert [client for client, _ in fairness.next()] == ["flood"]
        fairness.next()


def test_a_caller_that_waits_for_each_answer_is_handled_at_once_every_time() -> None:
    fairness = together()
    for n in range(1000):
        fairness.arrive("other", n, 1, n / 1000)
        assert fairness.arrive("honest", n, 1, n / 1000) is Turn.NOW
        fairness.next()


def test_more_than_may_wait_is_refused() -> None:
    fairness = together()
    verdicts = [fairness.arrive("flood", n, 1, 0) for n in range(WAITING_MAX + 10)]
    assert verdicts == [Turn.NOW] + [Turn.LATER] * WAITING_MAX + [Turn.NEVER] * 9
    heavy = [fairness.arrive("heavy", n, WAITING_MAX_BYTES // 2, 0) for n in range(5)]
    assert heavy == [Turn.NOW, Turn.LATER, Turn.LATER, Turn.NEVER, Turn.NEVER]


def test_names_that_cost_nothing_have_a_bound_too() -> None:
    fairness = together()
    for n in range(5000):
        for _ in range(3):
            fairness.arrive(f"c{n}", n, 1, 0)
    assert len(fairness._queues) <= QUEUES_MAX
    assert len(fairness._served) <= QUEUES_MAX
    fairness.clear()
    assert fairness.next() == []
    assert not fairness.turning


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200))
def test_each_clients_messages_are_handled_in_their_order_and_none_is_lost(
    steps: list[tuple[str, bool]],
) -> None:
    fairness: Fairness[int] = Fairness()
    handled: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    sent: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for n, (client, turn) in enumerate(steps):
        verdict = fairness.arrive(client, n, 1, 0)
        if verdict is not Turn.NEVER:
            sent[client].append(n)
        if verdict is Turn.NOW:
            handled[client].append(n)
        if turn:
            for due, message in fairness.next():
                handled[due].append(message)
    while fairness.turning:
        for due, message in fairness.next():
            handled[due].append(message)
    assert handled == sent
