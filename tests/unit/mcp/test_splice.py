from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.mcp.server import Server
from edged.mcp.splice import LARGE_BYTES, Unspent, splice
from tests.rig import echo_server
from tests.rig.desk import MODERN, Desk

LARGE = base64.b64encode(bytes(range(256)) * 16).decode()


def test_a_large_string_is_replaced_and_its_bytes_given_once() -> None:
    text = json.dumps({"a": "small", "b": LARGE, "c": [LARGE]}).encode()
    found = splice(text, 0, len(text))
    assert found is not None
    short, splices = found
    members: dict[str, Any] = json.loads(short)
    assert len(short) < 200
    assert members["a"] == "small"
    assert splices.spend(members["b"]) == base64.b64decode(LARGE)
    assert splices.spend(members["b"]) is None
    assert splices
    assert splices.spend(members["c"][0]) == base64.b64decode(LARGE)
    assert not splices


def test_a_piece_of_a_buffer_is_spliced_where_it_lies() -> None:
    text = json.dumps({"b": LARGE}).encode()
    buffer = bytearray(b'"' + text + b'"junk')
    found = splice(buffer, 1, 1 + len(text))
    assert found is not None
    assert found[1].spend(json.loads(found[0])["b"]) == base64.b64decode(LARGE)


@pytest.mark.parametrize("value", ["x" * (LARGE_BYTES - 1), '"' * LARGE_BYTES, "\\" * LARGE_BYTES])
def test_small_and_escaped_strings_are_left_alone(value: str) -> None:
    text = json.dumps({"b": value}).encode()
    assert splice(text, 0, len(text)) is None


def test_what_is_not_base64_has_to_be_parsed_in_full() -> None:
    text = json.dumps({"b": "?" * 5000}).encode()
    found = splice(text, 0, len(text))
    assert found is not None
    with pytest.raises(Unspent):
        found[1].spend(json.loads(found[0])["b"])


def test_placeholders_of_two_messages_differ() -> None:
    text = json.dumps({"b": LARGE}).encode()
    first, second = splice(text, 0, len(text)), splice(text, 0, len(text))
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


pieces = st.one_of(
    st.just(LARGE),
    st.just(LARGE[:-1]),
    st.just(LARGE + "\n"),
    st.just("é" * 3000),
    st.just("?" * 5000),
    st.text(max_size=5),
    st.integers(),
    st.none(),
)


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """Calls of `weigh` in which large strings turn up anywhere: arguments, ids, names, keys, unknown members."""
    arguments = draw(st.dictionaries(st.sampled_from(["data", "note", "other", LARGE]), pieces, max_size=3))
    message: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": draw(st.sampled_from([1, "a", LARGE])),
        "method": draw(st.sampled_from(["tools/call", "tools/list", "test/measure", LARGE])),
        "params": {
            "name": draw(st.sampled_from(["weigh", "echo", LARGE])),
            "arguments": arguments,
            "_meta": MODERN,
        },
    }
    if draw(st.booleans()):
        message["params"]["extra"] = draw(pieces)
    if draw(st.booleans()):
        message[LARGE] = draw(pieces)
    text = json.dumps(message, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace('"data":', '"data": "' + LARGE + '", "data":', 1)
    cut = draw(st.integers(0, len(text)))
    return (text[:cut] + draw(st.sampled_from(["", '"', "\\", "}"])) + text[cut:]).encode()


@settings(max_examples=300, deadline=None)
@given(calls())
def test_splicing_never_changes_an_answer(text: bytes) -> None:
    server: Server = echo_server.server()
    spliced = Desk(server).tell(text)
    full = Desk(server)
    full.conversation._receive(text, None, len(text))
    assert spliced == full.sent
