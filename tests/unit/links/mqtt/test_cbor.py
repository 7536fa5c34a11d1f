"""A message means the same in CBOR as in JSON, whatever it holds and however large its bytes are."""

from __future__ import annotations

import base64
import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import BadCbor
from edged.links.mqtt.mcp.cbor import from_cbor, from_json, to_cbor
from edged.mcp.splice import LARGE_BYTES

BYTES = st.binary(max_size=20) | st.integers(LARGE_BYTES - 2, LARGE_BYTES + 2).map(bytes)
LEAVES = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8) | BYTES
VALUES = st.recursive(
    LEAVES,
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(max_size=5), items, max_size=4),
)
MESSAGES = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


def as_json(value: Any) -> Any:
    """The value with base64 for bytes."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [as_json(item) for item in value]
        case dict():
            return {name: as_json(item) for name, item in value.items()}
    return value


def large_bytes(value: Any) -> int:
    """How many large byte strings lie directly in maps."""
    match value:
        case dict():
            own = sum(isinstance(item, bytes) and len(item) > LARGE_BYTES for item in value.values())
            return own + sum(map(large_bytes, value.values()))
        case list():
            return sum(map(large_bytes, value))
    return 0


@given(MESSAGES)
def test_the_whole_text_says_what_the_cbor_said(message: dict[str, Any]) -> None:
    incoming = from_cbor(cbor2.dumps(message))
    assert json.loads(incoming.whole()) == as_json(message)


@given(MESSAGES)
def test_large_bytes_are_set_aside_as_they_are(message: dict[str, Any]) -> None:
    incoming = from_cbor(cbor2.dumps(message))
    count = large_bytes(message)
    assert bool(incoming.splices) == bool(count)
    if incoming.splices:
        spent = [incoming.splices.spend(text) for text in _strings(json.loads(incoming.text))]
        found = [data for data in spent if data is not None]
        assert len(found) == count
        assert all(len(data) > LARGE_BYTES for data in found)
        assert not incoming.splices


def _strings(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in _strings(item)]
        case dict():
            return [text for item in value.values() for text in _strings(item)]
    return []


@given(st.binary(max_size=40) | st.integers(LARGE_BYTES, LARGE_BYTES * 2).map(bytes), st.text(max_size=10))
def test_pictures_and_blobs_leave_as_bytes_and_all_else_as_it_is(data: bytes, note: str) -> None:
    text = base64.b64encode(data).decode()
    result = {
        "content": [
            {"type": "text", "text": text},
            {"type": "image", "data": text, "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "a", "blob": text}},
        ],
        "structuredContent": {"data": text, "note": note},
    }
    answer = {"id": 1, "result": result, "jsonrpc": "2.0"}
    got = cbor2.loads(to_cbor(json.dumps(answer).encode()))["result"]
    assert got["structuredContent"] == {"data": text, "note": note}
    assert [block.get("text") for block in got["content"]] == [text, None, None]
    assert got["content"][1]["data"] == got["content"][2]["resource"]["blob"] == data


@pytest.mark.parametrize(
    ("result", "path"),
    [
        ({"contents": [{"uri": "a", "blob": "AAEC"}]}, ("contents", 0, "blob")),
        ({"messages": [{"role": "user", "content": {"type": "audio", "data": "AAEC"}}]}, ("messages", 0, "content", "data")),
        ({"result": {"content": [{"type": "image", "data": "AAEC"}]}}, ("result", "content", 0, "data")),
    ],
)  # fmt: skip
def test_every_place_of_base64_in_a_result_is_bytes(result: Any, path: tuple[Any, ...]) -> None:
    got = cbor2.loads(to_cbor(json.dumps({"id": 1, "result": result}).encode()))["result"]
    for step in path:
        got = got[step]
    assert got == b"\x00\x01\x02"


@pytest.mark.parametrize(
    "message", [{"jsonrpc": "2.0", "method": "a", "params": {"data": "AAEC"}}, {"error": {"code": 1}}, [1]]
)
def test_what_is_no_result_is_put_into_cbor_as_it_is(message: Any) -> None:
    assert cbor2.loads(to_cbor(json.dumps(message).encode())) == message


@pytest.mark.parametrize("value", [{1: 2}, {"a": {2: 3}}, {"a": [{b"k": 1}]}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(BadCbor):
        from_cbor(cbor2.dumps(value))


def test_json_keeps_its_large_strings_where_they_lie() -> None:
    payload = json.dumps({"a": "x" * (LARGE_BYTES + 1)}).encode()
    incoming = from_json(payload)
    assert incoming.splices
    assert len(incoming.text) < 100
    assert incoming.whole() is payload
    assert from_json(b"{}").splices is None
