from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import (
    decode_header_value,
    encode_header_value,
    find_invalid_x_mcp_header,
    validate_mcp_param_headers,
)

from edged.links.http_head import Headers
from edged.links.http_params import Mirrored, decode, disagreement, mirrored

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "limits": {
            "type": "object",
            "properties": {
                "count": {"type": "integer", "x-mcp-header": "Count"},
                "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
            },
        },
        "x-mcp-header": {"type": "string", "default": {"x-mcp-header": "data, not a wish"}},
    },
}


@given(st.text())
def test_what_a_client_wraps_is_unwrapped(text: str) -> None:
    assert decode(encode_header_value(text)) == text


@given(
    st.text(st.characters(max_codepoint=255)) | st.binary().map(lambda data: base64.b64encode(data).decode())
)
def test_what_is_malformed_is_malformed_to_the_official_library_too(text: str) -> None:
    wrapped = f"=?base64?{text}?="
    if wrapped.isprintable() and wrapped.isascii():
        assert decode(wrapped) == decode_header_value(wrapped)
    else:
        assert decode(wrapped) is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("plain", "plain"),
        ("", ""),
        ("=?base64?SGVsbG8=?=", "Hello"),
        ("=?base64?SGVsbG8?=", None),
        ("=?base64?SGVs!!!bG8=?=", None),
        ("=?base64?SGVsbG9=?=", None),
        ("=?base64?/w==?=", None),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("SGVsbG8=?=", "SGVsbG8=?="),
        ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
        ("naïve", None),
        ("bell\x07", None),
    ],
)
def test_a_field_says_what_it_says(raw: str, said: str | None) -> None:
    assert decode(raw) == said


def test_a_schema_tells_what_it_wants_mirrored() -> None:
    assert mirrored(SCHEMA) == (
        Mirrored(("region",), "region", "string"),
        Mirrored(("limits", "count"), "count", "integer"),
        Mirrored(("limits", "dry"), "dry-run", "boolean"),
    )
    assert mirrored({"type": "object"}) == ()


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "number", "x-mcp-header": "A"}},
        {"a": {"type": "object", "x-mcp-header": "A"}},
        {"a": {"type": ["string", "null"], "x-mcp-header": "A"}},
        {"a": {"type": "string", "x-mcp-header": ""}},
        {"a": {"type": "string", "x-mcp-header": "A B"}},
        {"a": {"type": "string", "x-mcp-header": "A\r\nB"}},
        {"a": {"type": "string", "x-mcp-header": 5}},
        {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}},
        {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}},
        {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}},
    ],
)
def test_a_wish_that_no_client_may_follow_is_refused(properties: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": properties}
    assert find_invalid_x_mcp_header(schema) is not None
    with pytest.raises(ValueError, match="x-mcp-header"):
        mirrored(schema)


@pytest.mark.parametrize(
    ("arguments", "fields", "wrong"),
    [
        ({"region": "west"}, {"Region": "west"}, None),
        ({"region": "=?base64?x?="}, {"Region": encode_header_value("=?base64?x?=")}, None),
        ({"region": "ü"}, {"region": encode_header_value("ü")}, None),
        ({"region": None}, {}, None),
        ({}, {}, None),
        ({"region": "west"}, {}, "missing"),
        ({"region": "west"}, {"Region": "east"}, "not what"),
        ({"region": "west"}, {"Region": "=?base64?!?="}, "malformed"),
        ({}, {"Region": "west"}, "no such argument"),
        ({"region": None}, {"Region": "west"}, "no such argument"),
        ({"limits": {"count": 42}}, {"Count": "42"}, None),
        ({"limits": {"count": 42}}, {"Count": "42.0"}, None),
        ({"limits": {"count": 42.0}}, {"Count": "42"}, None),
        ({"limits": {"count": 42}}, {"Count": "42.5"}, "not what"),
        ({"limits": {"count": 42}}, {"Count": "4.2e1"}, "not what"),
        ({"limits": {"count": -7}}, {"Count": "-7"}, None),
        ({"limits": {"dry": True}}, {"Dry-Run": "true"}, None),
        ({"limits": {"dry": True}}, {"Dry-Run": "True"}, "not what"),
        ({"limits": "none"}, {}, None),
        ({"limits": "none"}, {"Count": "1"}, "no such argument"),
    ],
)
def test_fields_and_arguments_agree_or_the_call_is_refused(
    arguments: dict[str, Any], fields: dict[str, str], wrong: str | None
) -> None:
    named = {f"Mcp-Param-{key}": value for key, value in fields.items()}
    headers = Headers((key.lower().encode(), value.encode()) for key, value in named.items())
    found = disagreement(mirrored(SCHEMA), arguments, headers)
    assert (wrong in found) if wrong and found else found is wrong
    official = validate_mcp_param_headers(SCHEMA, arguments, named)
    assert (official is None) == (found is None)


def test_a_field_given_twice_is_refused() -> None:
    headers = Headers([(b"mcp-param-region", b"west"), (b"mcp-param-region", b"west")])
    assert disagreement(mirrored(SCHEMA), {"region": "west"}, headers) == "Mcp-Param-region: more than once"
