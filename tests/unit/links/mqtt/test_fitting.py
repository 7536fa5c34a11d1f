"""An answer always fits what its client takes, says what became of the rest, and the rest can be read."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import NotFound
from edged.links.mqtt.mcp.cbor import to_cbor
from edged.links.mqtt.mcp.fitting import LIMIT_MIN_BYTES, LIMIT_PROPERTY, Room, declared, fit, room_bytes
from edged.links.mqtt.mcp.results import Held, Results

BLOCKS = st.lists(
    st.integers(0, 30_000).map(lambda n: {"type": "text", "text": "x" * n})
    | st.integers(0, 30_000).map(
        lambda n: {"type": "image", "data": base64.b64encode(bytes(n)).decode(), "mimeType": "image/png"}
    )
    | st.integers(0, 30_000).map(lambda n: {"type": "resource", "resource": {"uri": "a", "text": "é" * n}}),
    max_size=5,
)


def results() -> Results:
    names = map(str, itertools.count())
    return Results(lambda: next(names), max_bytes=1 << 20)


def room(size: int, kept: Results, *, cbor: bool = False, links: bool = True) -> Room:
    def keep(data: bytes, mime: str, part_bytes: int) -> Held | None:
        return kept.keep("me", data, mime, part_bytes, 0)

    return Room(size, to_cbor if cbor else lambda text: text, keep, links)


@given(BLOCKS, st.integers(4096, 40_000), st.booleans(), st.booleans())
def test_what_is_made_to_fit_fits(blocks: list[Any], size: int, cbor: bool, links: bool) -> None:  # noqa: FBT001 - drawn
    answer = {"id": 1, "result": {"content": blocks, "isError": False}, "jsonrpc": "2.0"}
    text = json.dumps(answer).encode()
    kept = results()
    sent = fit(text, room(size, kept, cbor=cbor, links=links))
    assert len(sent) <= size


@given(st.integers(4000, 200_000), st.integers(4096, 60_000))
def test_what_was_set_down_is_read_back_whole(length: int, size: int) -> None:
    data = bytes(itertools.islice(itertools.cycle(range(256)), length))
    block = {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": "image/png"}
    text = json.dumps({"id": "a", "result": {"content": [block]}, "jsonrpc": "2.0"}).encode()
    kept = results()
    where = room(size, kept)
    answer = json.loads(fit(text, where))
    (link,) = answer["result"]["content"]
    assert (answer["id"], link["type"], link["size"]) == ("a", "resource_link", length)
    name = link["uri"].rpartition("/")[2]
    parts = kept.find(name, "me", 0).parts
    pieces = [kept.part(name, str(n), "me", 0) for n in range(parts)]
    assert b"".join(pieces) == data
    assert all(len(base64.b64encode(piece)) + 500 <= size for piece in pieces)


def test_more_than_may_be_kept_is_said_to_be_too_much() -> None:
    text = json.dumps({"id": 1, "result": {"content": [], "structuredContent": "x" * 300_000}}).encode()
    answer = json.loads(fit(text, room(5000, results())))
    assert answer["result"]["isError"] is True
    assert LIMIT_PROPERTY in answer["result"]["content"][0]["text"]


def test_a_result_without_content_becomes_an_error_with_its_id() -> None:
    text = json.dumps({"id": 7, "result": {"tools": ["x" * 9000]}}).encode()
    answer = json.loads(fit(text, room(5000, results())))
    assert (answer["id"], answer["error"]["code"]) == (7, -31001)
    assert "9" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("user", "size"),
    [
        ((), None),
        (((LIMIT_PROPERTY, "200000"),), 200_000),
        (((LIMIT_PROPERTY, "1"),), LIMIT_MIN_BYTES),
        (((LIMIT_PROPERTY, "-1"),), None),
        (((LIMIT_PROPERTY, "٣"),), None),
        (((LIMIT_PROPERTY, "9" * 30),), None),
        ((("other", "5"), (LIMIT_PROPERTY, "5000")), 5000),
    ],
)
def test_what_a_client_declares(user: tuple[tuple[str, str], ...], size: int | None) -> None:
    assert declared(user) == size


@pytest.mark.parametrize(
    ("broker", "client", "packet"),
    [
        (None, None, 131_072),
        (20_000, None, 20_000),
        (1 << 20, None, 131_072),
        (None, 500_000, 500_000),
        (200_000, 500_000, 200_000),
        (500_000, 8000, 8000),
    ],
)
def test_room_is_what_client_and_broker_take_and_128_kib_where_none_says(
    broker: int | None, client: int | None, packet: int
) -> None:
    assert room_bytes(broker, client, 131_072, "t" * 44) == packet - 300


class TestResults:
    def test_only_who_was_given_one_reads_it_and_operators(self) -> None:
        kept = results()
        held = kept.keep("mqtt:a", b"data", "text/plain", 2, 0)
        assert held
        assert kept.find("0", "mqtt:a", 1) is held
        assert kept.find("0", "uid:0", 1, operator=True) is held
        with pytest.raises(NotFound):
            kept.find("0", "mqtt:b", 1)

    def test_they_are_forgotten_after_a_while(self) -> None:
        kept = results()
        kept.keep("a", b"data", "text/plain", 2, 0)
        with pytest.raises(NotFound, match="600 s"):
            kept.find("0", "a", 601)
        assert (len(kept), kept.bytes) == (0, 0)

    @pytest.mark.parametrize("number", ["2", "-1", "x", "", "٣", "0.0", "99999999"])
    def test_a_part_that_is_none_is_not_found(self, number: str) -> None:
        kept = results()
        kept.keep("a", b"data", "text/plain", 2, 0)
        with pytest.raises(NotFound, match="no part"):
            kept.part("0", number, "a", 0)

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400_000), st.integers(0, 300)), max_size=20)
    )
    def test_memory_has_a_bound_whoever_keeps_what(self, kept: list[tuple[str, int, int]]) -> None:
        store, now = results(), 0.0
        for owner, size, later in kept:
            now += later
            held = store.keep(owner, bytes(size), "", 1000, now)
            assert (held is None) == (size > (1 << 18))
            assert store.bytes <= 1 << 20
            own = [h for h in store._held.values() if h.owner == owner]
            assert sum(len(h.data) for h in own) <= 1 << 18
            assert held is None or held in own
