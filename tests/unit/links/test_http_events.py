from __future__ import annotations

import pytest

from edged.links.http_events import Log, Place, event, place_of, priming


def test_an_event_carries_a_message_and_where_it_stands() -> None:
    assert event(b'{"a":1}') == b'event: message\ndata: {"a":1}\n\n'
    assert event(b"{}", Place(3, 7)) == b"id: 3-7\nevent: message\ndata: {}\n\n"


def test_a_priming_event_has_no_message() -> None:
    assert priming(Place(1, 0)) == b"id: 1-0\ndata: \n\n"
    assert priming(Place(1, 0), 500) == b"id: 1-0\nretry: 500\ndata: \n\n"


@pytest.mark.parametrize(
    "text",
    ["", "1", "1-", "-1", "1-1-1", "a-1", "1-1 ", "+1-1", "1" * 10 + "-1", "\N{FULLWIDTH DIGIT ONE}-1"],
)
def test_an_id_we_never_gave_is_no_place(text: str) -> None:
    assert place_of(text) is None


def test_an_id_leads_back_to_its_place() -> None:
    assert place_of(str(Place(12, 345))) == Place(12, 345)


def test_a_log_gives_one_stream_what_it_missed_and_never_another_ones() -> None:
    log = Log(1000)
    for number in range(1, 4):
        log.keep(Place(1, number), b"one")
        log.keep(Place(2, number), b"two")
    assert log.after(Place(1, 1)) == [(Place(1, 2), b"one"), (Place(1, 3), b"one")]
    assert log.after(Place(2, 3)) == []


def test_a_log_lets_the_oldest_go_first_and_keeps_within_its_bound() -> None:
    log = Log(10)
    for number in range(1, 6):
        log.keep(Place(1, number), b"1234")
    assert [place.number for place, _ in log.after(Place(1, 0))] == [4, 5]
    log.keep(Place(1, 6), b"x" * 11)
    assert log.after(Place(1, 0)) == []
    log.keep(Place(1, 7), b"x" * 10)
    assert len(log.after(Place(1, 0))) == 1
