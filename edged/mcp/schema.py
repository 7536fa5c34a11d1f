"""Structs to JSON Schema 2020-12, and wire arguments to Structs.

Pure. A `Blob` field is base64 on the wire; everything else is what msgspec makes of the type.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Generic, TypeVar

import msgspec
import pybase64

from edged.errors import BadArgument
from edged.mcp.splice import Splices, Unspent

T = TypeVar("T", bound=msgspec.Struct)

_MESSAGE_MAX = 400
_AT = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_ABOUT_A_FIELD = re.compile(
    r"Object (?P<verb>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


class Blob:
    """Bytes in an argument: base64 on the wire."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data


class Reader(Generic[T]):
    """Reads arguments of one kind."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind, dec_hook=_read_blob).decode

    def read(self, raw: msgspec.Raw, splices: Splices | None = None) -> T:
        """The Struct in `raw`.

        Raises BadArgument, whose message starts with the path at fault, and Unspent where splices are given
        and the text has to be parsed in full.
        """
        if splices:
            return self._read_spliced(raw, splices)
        try:
            return self._decode(raw)
        except msgspec.ValidationError as exc:
            raise BadArgument(explain(exc)) from None

    def _read_spliced(self, raw: msgspec.Raw, splices: Splices) -> T:
        def hook(kind: type, value: object) -> Blob:
            data = splices.spend(value) if isinstance(value, str) else None
            return _read_blob(kind, value) if data is None else Blob(data)

        try:
            arguments = msgspec.json.decode(raw, type=self._kind, dec_hook=hook)
        except msgspec.DecodeError:
            raise Unspent from None
        if splices:
            raise Unspent
        return arguments


def explain(exc: msgspec.ValidationError) -> str:
    """A decoder's complaint as `$.path: what was expected`."""
    found = _AT.fullmatch(str(exc))
    what, path = (found["what"], found["path"] or "$") if found else (str(exc), "$")
    if about := _ABOUT_A_FIELD.fullmatch(what):
        path = f"{path}.{about['name']}"
        what = "required, and missing" if about["verb"] == "missing required" else "unknown argument"
    message = f"{path}: {what[:1].lower()}{what[1:].replace('`', '')}"
    return message if len(message) <= _MESSAGE_MAX else message[: _MESSAGE_MAX - 1] + "…"


def object_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """A schema whose root is a plain object, as MCP requires; what it refers to lies under `$defs`."""
    (root,), parts = msgspec.json.schema_components(
        [kind], schema_hook=_blob_schema, ref_template="#/$defs/{name}"
    )
    name = root["$ref"].removeprefix("#/$defs/")
    schema = {key: value for key, value in parts.pop(name).items() if key != "title"}
    if f'"#/$defs/{name}"' in msgspec.json.encode([schema, parts]).decode():  # it contains itself
        parts[name] = schema
    return {**schema, "$defs": parts} if parts else schema


def _read_blob(kind: type, value: object) -> Blob:
    if kind is not Blob or not isinstance(value, str):
        raise TypeError("expected a base64 string")
    try:
        return Blob(pybase64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("expected base64 (RFC 4648 section 4, padded, no line breaks)") from None


def _blob_schema(kind: type) -> dict[str, Any]:
    if kind is not Blob:
        raise NotImplementedError(f"no JSON Schema for {kind}")
    return {"type": "string", "contentEncoding": "base64"}
