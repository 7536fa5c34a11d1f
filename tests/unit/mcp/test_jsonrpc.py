from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from edged.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Failure,
    Malformed,
    Message,
    Response,
    error,
    notification,
    parse,
    result,
    split_batch,
)

REQUEST = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'


def failing(text: bytes, depth_max: int = 64) -> tuple[int, object]:
    with pytest.raises(Malformed) as caught:
        parse(text, depth_max)
    return caught.value.code, caught.value.id


@pytest.mark.parametrize("request_id", [0, -1, "", "a", "\n", 2**63, -(2**63), 2**64 - 1])
def test_a_string_or_64_bit_integer_is_an_id(request_id: int | str) -> None:
    message = parse(json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "m"}).encode(), 64)
    assert message is not None
    assert message.id == request_id


@pytest.mark.parametrize(
    "spelled",
    ["null", "1.0", "1e3", "true", "[]", "{}", "18446744073709551616", "-9223372036854775809", "9" * 5000],
)
def test_anything_else_is_no_id_and_the_error_has_none(spelled: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":{spelled},"method":"m"}}'.encode()
    assert failing(text) == (INVALID_REQUEST, UNSET)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nonsense",
        REQUEST[:-1],
        REQUEST + b"x",
        b"\xef\xbb\xbf" + REQUEST,
        b'{"jsonrpc":"2.0","id":7,"method":"m","x":"\xff"}',
        b'{"jsonrpc":"2.0","id":7,"method":"m","x":"\\ud800"}',
        b'{"jsonrpc":"2.0","id":7,"method":"m","x":NaN}',
        b'{"jsonrpc":"2.0","id":7,"method":"m","x":"\x00"}',
        b'{"jsonrpc":"2.0","id":7,"method":"m","x":01}',
        b"{'jsonrpc':'2.0'}",
    ],
)
def test_what_is_not_json_is_a_parse_error_without_an_id(text: bytes) -> None:
    assert failing(text) == (PARSE_ERROR, UNSET)


@pytest.mark.parametrize(
    ("text", "code", "request_id"),
    [
        (b"5", INVALID_REQUEST, UNSET),
        (b'"x"', INVALID_REQUEST, UNSET),
        (b"null", INVALID_REQUEST, UNSET),
        (b"{}", INVALID_REQUEST, UNSET),
        (b'{"jsonrpc":"2.0","id":7}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', INVALID_REQUEST, 7),
        (b'{"id":"x","method":"m"}', INVALID_REQUEST, "x"),
        (b'{"jsonrpc":"2.0","id":7,"method":5}', INVALID_REQUEST, 7),
        (b'{"jsonrpc":"2.0","method":5}', INVALID_REQUEST, UNSET),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":5}', INVALID_PARAMS, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":[1]}', INVALID_PARAMS, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":null}', INVALID_PARAMS, 7),
        (b'{"jsonrpc":"2.0","method":"m","params":"x"}', INVALID_PARAMS, UNSET),
    ],
)
def test_what_is_no_message_is_refused_with_the_id_that_can_be_read(
    text: bytes, code: int, request_id: object
) -> None:
    assert failing(text) == (code, request_id)


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}',
    ],
)
def test_a_response_wants_no_answer_lest_two_peers_err_at_each_other_for_ever(text: bytes) -> None:
    assert parse(text, 64) is None


def test_an_answer_to_a_request_of_ours_is_taken_for_one() -> None:
    answer = parse(b'{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}', 64)
    assert isinstance(answer, Response)
    assert (answer.id, answer.error) == (7, UNSET)
    refusal = parse(b'{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no"}}', 64)
    assert isinstance(refusal, Response)
    assert refusal.result is UNSET


def test_of_a_repeated_key_the_last_counts_as_for_every_parser() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b"}', 64)
    assert isinstance(message, Message)
    assert (message.id, message.method) == (2, "b")


def nested(depth: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":' + b"[" * depth + b"]" * depth + b"}}"


def test_nesting_is_allowed_up_to_its_limit_and_refused_by_id_beyond() -> None:
    assert parse(nested(62), 64) is not None
    assert failing(nested(63)) == (INVALID_REQUEST, 7)


def test_nesting_too_deep_for_any_parser_is_one_error_without_an_id() -> None:
    assert failing(b'{"id":7,"x":' + b"[" * 1_000_000) == (INVALID_REQUEST, UNSET)


def test_brackets_in_strings_are_not_nesting() -> None:
    text = b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"' + b'[{\\"\\\\' * 1000 + b'"}}'
    assert parse(text, 64) is not None


def test_many_flat_arrays_are_not_deep() -> None:
    text = b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":[' + b",".join([b"[1]"] * 10_000) + b"]}}"
    assert parse(text, 64) is not None


def test_too_many_containers_are_refused_whatever_their_depth() -> None:
    text = b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":[' + b",".join([b"{}"] * 300_000) + b"]}}"
    assert failing(text) == (INVALID_REQUEST, 7)


def test_a_batch_is_split_and_an_empty_one_refused() -> None:
    assert [bytes(element) for element in split_batch(b' [1, {"a":2}] ', 64)] == [b"1", b'{"a":2}']
    with pytest.raises(Malformed, match="empty"):
        split_batch(b"[]", 64)


def test_answers_are_json_rpc() -> None:
    assert json.loads(result(7, {"a": 1})) == {"jsonrpc": "2.0", "id": 7, "result": {"a": 1}}
    assert json.loads(error(Failure(-1, "no"))) == {"jsonrpc": "2.0", "error": {"code": -1, "message": "no"}}
    assert json.loads(error(Failure(-1, "no", {"x": 1}), "a")) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {"code": -1, "message": "no", "data": {"x": 1}},
    }
    assert json.loads(notification("n", {})) == {"jsonrpc": "2.0", "method": "n", "params": {}}
