"""Tool arguments mirrored into `Mcp-Param-*` fields: which, how they are written, and whether they agree.

Pure. Source: MCP 2026-07-28 basic/transports/streamable-http.mdx ("Custom Headers from Tool Parameters",
"Value Encoding", "Server Validation").
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from edged.links.http_head import Headers

PREFIX: Final = "mcp-param-"
ANNOTATION: Final = "x-mcp-header"

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN: Final = re.compile(r"[\x20-\x7e\t]*")
_WRAPPED: Final = re.compile(r"=\?base64\?(?P<base64>.*)\?=")
_DECIMAL: Final = re.compile(r"(?P<whole>-?[0-9]{1,20})(\.0+)?")
_ABSENT: Final = object()


class Mirrored(NamedTuple):
    """An argument that a client repeats in a header field."""

    path: tuple[str, ...]
    field: str
    kind: str


def decode(value: str) -> str | None:
    """What a field's value says, out of its base64 wrapping if it has one; None where it is malformed."""
    if not _PLAIN.fullmatch(value):
        return None
    if (wrapped := _WRAPPED.fullmatch(value)) is None:
        return value
    try:
        data = b64decode(wrapped["base64"], validate=True)
        return data.decode() if b64encode(data).decode() == wrapped["base64"] else None
    except ValueError:  # base64 and UTF-8 alike
        return None


def mirrored(schema: Mapping[str, Any]) -> tuple[Mirrored, ...]:
    """The arguments a tool's input schema wants mirrored; raises ValueError where it may not want so."""
    found = tuple(_along(schema, ()))
    fields = [one.field for one in found]
    if len(set(fields)) != len(fields):
        raise ValueError(f"{ANNOTATION}: two of one name")
    if sum(1 for _ in _anywhere(schema)) != len(found):
        raise ValueError(f"{ANNOTATION}: stands where no chain of properties leads")
    return found


def disagreement(wanted: tuple[Mirrored, ...], arguments: object, headers: Headers) -> str | None:
    """What is wrong with the fields of a call, or None."""
    for one in wanted:
        name = f"Mcp-Param-{one.field}"
        values = headers.all(PREFIX + one.field.lower())
        argument = _at(arguments, one.path)
        if argument is None or argument is _ABSENT:
            if values:
                return f"{name}: there is no such argument"
        elif not values:
            return f"{name}: required, and missing"
        elif len(values) > 1:
            return f"{name}: more than once"
        elif (said := decode(values[0])) is None:
            return f"{name}: malformed"
        elif not _same(said, argument, one.kind):
            return f"{name}: not what the argument says"
    return None


def _along(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Mirrored]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name, below in properties.items():
        if not isinstance(below, Mapping):
            continue
        if ANNOTATION in below:
            yield _annotated(below, (*path, name))
        yield from _along(below, (*path, name))


def _annotated(schema: Mapping[str, Any], path: tuple[str, ...]) -> Mirrored:
    field, kind = schema[ANNOTATION], schema.get("type")
    if not isinstance(field, str) or not _TOKEN.fullmatch(field):
        raise ValueError(f"{ANNOTATION}: expected the end of a header field's name")
    if kind not in ("string", "integer", "boolean"):
        raise ValueError(f"{ANNOTATION}: only strings, integers and booleans can be mirrored")
    return Mirrored(path, field.lower(), kind)


def _anywhere(node: object) -> Iterator[object]:
    """Every annotation in a schema, reachable or not; the names of properties are none."""
    if isinstance(node, Mapping):
        for key, below in node.items():
            if key == ANNOTATION:
                yield below
            elif key in ("properties", "patternProperties", "$defs", "dependentSchemas"):
                for named in below.values() if isinstance(below, Mapping) else ():
                    yield from _anywhere(named)
            elif key not in ("default", "examples", "const", "enum"):
                yield from _anywhere(below)
    elif isinstance(node, list):
        for below in node:
            yield from _anywhere(below)


def _at(arguments: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(arguments, Mapping):
            return _ABSENT
        arguments = arguments.get(key, _ABSENT)
    return arguments


def _same(said: str, argument: object, kind: str) -> bool:
    if isinstance(argument, bool):
        return said == ("true" if argument else "false")
    if kind == "integer" and isinstance(argument, (int, float)) and (number := _DECIMAL.fullmatch(said)):
        return int(number["whole"]) == argument
    return isinstance(argument, str) and said == argument
