"""One who repeats himself does not fill the log."""

from __future__ import annotations

from edged.audit.chain import Event
from edged.audit.repeats import KEPT_MAX, Repeats

REFUSED = Event("uid:5", "models_remove", "refused", {"tier": "act"})


def test_the_first_is_recorded_and_the_next_ones_are_counted_when_the_minute_is_over() -> None:
    repeats = Repeats()
    assert repeats.take(REFUSED, 0.0) == [REFUSED]
    assert repeats.take(REFUSED, 1.0) == []
    assert repeats.take(REFUSED, 59.0) == []
    again = Event("uid:5", "models_remove", "refused", {"tier": "act", "times": 2})
    assert repeats.take(REFUSED, 60.0) == [again, REFUSED]


def test_one_that_came_once_is_not_told_again() -> None:
    repeats = Repeats()
    repeats.take(REFUSED, 0.0)
    assert repeats.due(100.0) == []


def test_different_events_do_not_hide_each_other() -> None:
    repeats = Repeats()
    other = Event("uid:6", "models_remove", "refused")
    assert repeats.take(REFUSED, 0.0) == [REFUSED]
    assert repeats.take(other, 0.0) == [other]


def test_at_the_end_every_count_is_told() -> None:
    repeats = Repeats()
    for _ in range(3):
        repeats.take(REFUSED, 0.0)
    assert [event.about["times"] for event in repeats.rest()] == [2]
    assert repeats.rest() == []


def test_one_who_varies_what_he_asks_takes_no_memory_without_bound() -> None:
    repeats = Repeats()
    for number in range(2 * KEPT_MAX):
        assert len(repeats.take(Event(f"mqtt:{number}", "x", "refused"), 0.0)) == 1
    assert len(repeats._since) == KEPT_MAX
