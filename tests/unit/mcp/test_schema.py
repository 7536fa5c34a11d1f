from __future__ import annotations

import json
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from msgspec import Meta, Raw

from edged.errors import BadArgument
from edged.mcp.schema import Blob, Reader, object_schema


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    data: Annotated[Blob | None, Meta(description="The bytes")] = None


class Node(msgspec.Struct):
    children: list[Node] = []


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a test asks for."""

    image: Inner
    top_k: Annotated[int, Meta(ge=1, le=100)] = 5
    names: list[str] = []


@pytest.mark.parametrize("kind", [Arguments, Inner, Node])
def test_the_root_of_a_schema_is_a_plain_object_and_the_schema_is_valid(kind: type[msgspec.Struct]) -> None:
    schema = object_schema(kind)
    assert schema["type"] == "object"
    assert "$ref" not in schema
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_schema_and_its_reader_agree() -> None:
    validator = jsonschema.Draft202012Validator(object_schema(Arguments))
    reader = Reader(Arguments)
    for value, right in (
        ({"image": {"data": "AAAA"}}, True),
        ({"image": {}, "top_k": 100}, True),
        ({"image": {}, "top_k": 101}, False),
        ({"image": {}, "unknown": 1}, False),
        ({"image": {"data": 5}}, False),
        ({}, False),
    ):
        assert validator.is_valid(value) is right
        if right:
            reader.read(Raw(json.dumps(value).encode()))
        else:
            with pytest.raises(BadArgument):
                reader.read(Raw(json.dumps(value).encode()))


def test_bytes_are_base64_in_the_schema() -> None:
    properties: dict[str, Any] = object_schema(Inner)["properties"]
    assert {"type": "string", "contentEncoding": "base64"} in properties["data"]["anyOf"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"image":{},"top_k":101}', "$.top_k: expected int <= 100"),
        (b'{"image":{},"top_k":"x"}', "$.top_k: expected int, got str"),
        (b'{"image":{"data":5}}', "$.image.data: expected a base64 string"),
        (
            b'{"image":{"data":"?"}}',
            "$.image.data: expected base64 (RFC 4648 section 4, padded, no line breaks)",
        ),
        (b"{}", "$.image: required, and missing"),
        (b'{"image":{"x":1}}', "$.image.x: unknown argument"),
        (b'{"image":{},"names":["a",1]}', "$.names[1]: expected str, got int"),
        (b"[]", "$: expected object, got array"),
    ],
)
def test_a_wrong_argument_is_named_by_its_path(text: bytes, message: str) -> None:
    with pytest.raises(BadArgument) as caught:
        Reader(Arguments).read(Raw(text))
    assert caught.value.message == message


def test_a_complaint_never_grows_with_what_the_peer_sent() -> None:
    with pytest.raises(BadArgument) as caught:
        Reader(Arguments).read(Raw(b'{"image":{},"' + b"x" * 100_000 + b'":1}'))
    assert len(caught.value.message) <= 400
