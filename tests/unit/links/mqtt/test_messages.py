"""As much as is read of a message is read right, and without reading the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.links.mqtt.mcp.messages import answered, peek, succeeded
from edged.mcp import jsonrpc
from edged.mcp.jsonrpc import Failure

IDS = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=20) | st.just('x","result":{')


@given(IDS, st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_the_id_of_an_answer_is_found(request_id: int | str, body: Any) -> None:
    assert answered(jsonrpc.result(request_id, body)) == request_id
    assert answered(jsonrpc.error(Failure(-1, "x", body), request_id)) == request_id


def test_what_answers_nothing_has_no_id() -> None:
    assert answered(jsonrpc.error(Failure(-1, "x"))) is None
    assert answered(b"[" + jsonrpc.result(1, {}) + b"]") is None


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (jsonrpc.result(1, {"isError": False}), True),
        (jsonrpc.result(1, {"isError": True}), False),
        (jsonrpc.result(1, {"text": '"isError":true'}), True),
        (jsonrpc.error(Failure(-1, "x"), 1), False),
    ],
)
def test_only_a_result_that_is_none_of_an_error_is_worth_keeping(text: bytes, good: bool) -> None:  # noqa: FBT001 - a case
    assert succeeded(text) is good


@pytest.mark.parametrize("text", [b"", b"{", b"5", b"[]", b"\xff", b'{"id":1.5,"method":"a"}', b"[" * 5000])
def test_what_cannot_be_read_is_nothing(text: bytes) -> None:
    assert peek(text).asks is None


@pytest.mark.parametrize(
    ("message", "asks"),
    [
        ({"id": 0, "method": "a"}, 0),
        ({"id": "", "method": "a"}, ""),
        ({"method": "a"}, None),
        ({"id": 1, "result": {}}, None),
    ],
)
def test_a_request_has_a_method_and_an_id(message: Any, asks: int | str | None) -> None:
    assert peek(json.dumps(message).encode()).asks == asks


@pytest.mark.parametrize(
    ("params", "handshake"),
    [
        ({}, True),
        ({"_meta": {}}, True),
        ({"_meta": 5}, True),
        ({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}, False),
        ({"_meta": {"io.modelcontextprotocol/protocolVersion": 5}}, False),
    ],
)
def test_the_era_is_told_by_the_envelope(params: Any, handshake: bool) -> None:  # noqa: FBT001 - a case
    assert peek(json.dumps({"id": 1, "method": "a", "params": params}).encode()).handshake is handshake


@pytest.mark.parametrize(
    ("method", "params", "cancels"),
    [
        ("notifications/cancelled", {"requestId": 0}, 0),
        ("notifications/cancelled", {"requestId": "a"}, "a"),
        ("notifications/cancelled", {"requestId": []}, None),
        ("notifications/cancelled", {}, None),
        ("ping", {"requestId": 1}, None),
    ],
)
def test_a_cancellation_names_its_request(method: str, params: Any, cancels: int | str | None) -> None:
    assert peek(json.dumps({"method": method, "params": params}).encode()).cancels == cancels
