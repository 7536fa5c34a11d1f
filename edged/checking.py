"""Turn a TOML document into a frozen Struct, reporting every problem instead of the first.

Pure. Used by the daemon's config and by model manifests, so both speak of problems the same way.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Problem(NamedTuple):
    """One thing wrong with a document; `line` counts from 1."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path or '(document)'}: {self.message}"


def parse(text: str, kind: type[T]) -> tuple[T | None, list[Problem]]:
    """The document as `kind`, or None and every problem in it, in document order."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"\(at line (\d+), column \d+\)", str(exc))
        message = re.sub(r" \(at .*\)$", "", str(exc))
        return None, [Problem("", int(found[1]) if found else text.count("\n") + 1, f"not TOML: {message}")]
    with contextlib.suppress(msgspec.ValidationError):  # what is right needs no list of what is wrong
        return msgspec.convert(document, kind), []
    lines = line_numbers(text)
    problems = [Problem(path, nearest(lines, path), message) for path, message in check(document, kind, "")]
    return None, sorted(problems, key=lambda p: p.line)


def check(value: object, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every (path, message) that keeps `value` from being `kind`."""
    inner = _core(kind)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        if isinstance(value, Mapping):
            yield from _check_struct(value, inner, path)
        else:
            yield path, f"expected a table, got {_toml_name(value)}"
    elif _is_tagged_union(inner):
        yield from _check_union(value, inner, path)
    elif items := _items(value, inner, path):
        problems = [problem for item in items for problem in check(*item)]
        yield from problems or _convert(value, kind, path)
    else:
        yield from _convert(value, kind, path)


def _items(value: object, kind: Any, path: str) -> list[tuple[object, Any, str]]:
    """The members of a container whose members need a check of their own."""
    members = get_args(kind)
    if get_origin(kind) is dict and isinstance(value, Mapping):
        return [(item, members[1], _join(path, str(key))) for key, item in value.items()]
    if get_origin(kind) is list and isinstance(value, list):
        return [(item, members[0], f"{path}[{index}]") for index, item in enumerate(value)]
    return []


def _convert(value: object, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        message, _, inner = str(exc).partition(" - at `$")
        yield path + inner.rstrip("`"), message[0].lower() + message[1:]


def _check_struct(
    value: Mapping[str, object], kind: type[msgspec.Struct], path: str
) -> Iterator[tuple[str, str]]:
    problems = list(_check_fields(value, kind, path))
    if not problems:  # every field is right by itself: now the rules that tie fields together
        problems = [(path, message) for _, message in _convert(value, kind, path)]
    yield from problems


def _check_fields(
    value: Mapping[str, object], kind: type[msgspec.Struct], path: str
) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    for key, item in value.items():
        if key in fields:
            yield from check(item, hints[fields[key].name], _join(path, key))
        elif key != kind.__struct_config__.tag_field:
            yield _join(path, key), f"unknown key; known here: {', '.join(sorted(fields))}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield _join(path, name), "required, and missing"


def _check_union(value: object, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    members = {m.__struct_config__.tag: m for m in get_args(kind)}
    tag_field = next(iter(members.values())).__struct_config__.tag_field or "type"
    known = ", ".join(sorted(str(tag) for tag in members))
    if not isinstance(value, Mapping):
        yield path, f"expected a table, got {_toml_name(value)}"
    elif tag_field not in value:
        yield _join(path, tag_field), f"required, and missing; one of {known}"
    elif not isinstance(value[tag_field], str) or value[tag_field] not in members:
        yield _join(path, tag_field), f"unknown: {value[tag_field]!r}; one of {known}"
    else:
        yield from _check_struct(value, members[value[tag_field]], path)


_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_HEADER_LINE = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY_LINE = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=\s*(.*)")


def line_numbers(text: str) -> dict[str, int]:
    """Path -> line for every table header and key of a TOML document that parses."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    until: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if until is not None:  # inside a multi-line string
            until = None if until in line else until
            continue
        if header := _HEADER_LINE.match(line):
            table = _resolve(header[2], counts)
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{index}]"
            lines[table] = number
        elif key := _KEY_LINE.match(line):
            lines[_join(table, _bare(key[1]))] = number
            for quote in ('"""', "'''"):
                if key[2].startswith(quote) and quote not in key[2][3:]:
                    until = quote
    return lines


def nearest(lines: Mapping[str, int], path: str) -> int:
    """The line of `path`, or of the closest table or key around it; 1 where there is none."""
    while path and path not in lines:
        path = re.sub(r"(\[[^\[\]]*\]|\.?[^.\[\]]+)$", "", path)
    return lines.get(path, 1)


def _resolve(header: str, counts: Mapping[str, int]) -> str:
    path = ""
    parts = _bare(header).split(".")
    for position, part in enumerate(parts):
        path = _join(path, part)
        if position < len(parts) - 1 and path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def _bare(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _core(kind: Any) -> Any:
    """An annotation without its bounds and without None."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
            continue
        members = [m for m in get_args(kind) if m is not NoneType]
        if get_origin(kind) not in (Union, UnionType) or len(members) != 1:
            return kind
        kind = members[0]


def _is_tagged_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and all(
        isinstance(m, type) and issubclass(m, msgspec.Struct) for m in get_args(kind)
    )


def _toml_name(value: object) -> str:
    return _TOML_NAMES.get(type(value), type(value).__name__)


_TOML_NAMES: dict[type, str] = {
    dict: "a table",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
}
