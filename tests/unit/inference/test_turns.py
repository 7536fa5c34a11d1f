from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from edged.inference.turns import Turns


def drained(turns: Turns[str]) -> list[str]:
    items = []
    while (item := turns.pop()) is not None:
        items.append(item)
    return items


def test_higher_priority_goes_first_and_equals_in_order() -> None:
    turns: Turns[str] = Turns(10)
    for priority, item in ((0, "low"), (5, "first"), (9, "urgent"), (5, "second")):
        assert turns.push(priority, "peer", item) == (True, None)
    assert drained(turns) == ["urgent", "first", "second", "low"]


def test_peers_of_one_priority_take_turns() -> None:
    turns: Turns[str] = Turns(10)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        turns.push(5, item[0], item)
    assert drained(turns) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_peer_that_floods_the_queue_loses_its_newest_item_to_another_peer() -> None:
    turns: Turns[str] = Turns(4)
    for item in ("a1", "a2", "a3", "a4"):
        turns.push(5, "a", item)
    assert turns.push(5, "b", "b1") == (True, "a4")
    assert turns.push(5, "a", "a5") == (False, None)
    assert turns.push(5, "b", "b2") == (True, "a3")
    assert turns.push(5, "b", "b3") == (False, None)
    assert drained(turns) == ["a1", "b1", "a2", "b2"]


def test_a_full_queue_gives_way_to_a_higher_priority_only() -> None:
    turns: Turns[str] = Turns(2)
    turns.push(3, "a", "a1")
    turns.push(3, "b", "b1")
    assert turns.push(2, "c", "c1") == (False, None)
    assert turns.push(3, "c", "c1") == (False, None)
    taken, left = turns.push(4, "c", "c1")
    assert taken
    assert left in ("a1", "b1")


def test_an_item_taken_back_does_not_come_again() -> None:
    turns: Turns[str] = Turns(4)
    turns.push(5, "a", "a1")
    turns.push(5, "a", "a2")
    assert turns.remove(5, "a", "a1")
    assert not turns.remove(5, "a", "a1")
    assert not turns.remove(5, "nobody", "a1")
    assert drained(turns) == ["a2"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=60), st.integers(0, 9))
def test_ahead_counts_what_would_run_before(pushed: list[tuple[int, int]], priority: int) -> None:
    turns: Turns[int] = Turns(100)
    for index, (level, peer) in enumerate(pushed):
        turns.push(level, peer, index)
    assert turns.ahead(priority) == sum(level >= priority for level, _ in pushed)


class AnyOrder(RuleBasedStateMachine):
    """Against a plain list: nothing is lost, invented or out of priority, whatever the order of calls."""

    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[tuple[int, int, int]] = Turns(7)
        self.model: list[tuple[int, int, int]] = []
        self.serial = 0

    @rule(target=items, priority=st.integers(0, 9), peer=st.integers(0, 3))
    def push(self, priority: int, peer: int) -> tuple[int, int, int]:
        self.serial += 1
        item = (priority, peer, self.serial)
        full = len(self.model) == 7
        taken, left = self.turns.push(priority, peer, item)
        assert (left is not None) == (full and taken)
        if left is not None:
            assert left[0] <= priority
            self.model.remove(left)
        if taken:
            self.model.append(item)
        return item

    @rule()
    def pop(self) -> None:
        item = self.turns.pop()
        if item is None:
            assert not self.model
            return
        assert item[0] == max(priority for priority, _, _ in self.model)
        assert item[2] == min(s for p, peer, s in self.model if (p, peer) == item[:2])
        self.model.remove(item)

    @rule(item=items)
    def remove(self, item: tuple[int, int, int]) -> None:
        assert self.turns.remove(item[0], item[1], item) == (item in self.model)
        if item in self.model:
            self.model.remove(item)

    @invariant()
    def same_size(self) -> None:
        assert len(self.turns) == len(self.model)


TestAnyOrder = AnyOrder.TestCase
