"""Turn a TOML document into a frozen Struct, reporting every problem instead of the first.

Pure. Used by the daemon's config and by model manifests, so both speak of problems the same way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Problem(NamedTuple):
    """One thing wrong with a document; `line` counts from 1, and is None where no line is at fault."""

    path: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.path or "(document)"
        return f"line {self.line}: {place}: {self.message}" if self.line else f"{place}: {self.message}"


def parse(text: str, kind: type[T]) -> tuple[T | None, list[Problem]]:
    """The document as `kind`, or None and every problem in it, in document order."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"\(at line (\d+), column \d+\)", str(exc))
        message = re.sub(r" \(at .*\)$", "", str(exc))
        return None, [Problem("", int(found[1]) if found else None, f"not TOML: {message}")]
    lines = line_numbers(text)
    problems = [
        Problem(path, nearest(lines, path), message) for path, message in check(document, kind, "")
    ]
    if problems:
        return None, sorted(problems, key=lambda p: p.line or 0)
    return msgspec.convert(document, kind), []


def check(value: object, kind: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any annotation
    """Every (path, message) that keeps `value` from being `kind`."""
    kind = _without_none(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if isinstance(value, Mapping):
            yield from _check_struct(value, kind, path)
        else:
            yield path, f"expected a table, got {_toml_name(value)}"
    elif _is_tagged_union(kind):
        yield from _check_union(value, kind, path)
    elif get_origin(kind) is dict and isinstance(value, Mapping):
        for key, item in value.items():
            yield from check(item, get_args(kind)[1], _join(path, key))
    elif get_origin(kind) in (list, tuple) and isinstance(value, list) and _holds_structs(kind):
        for index, item in enumerate(value):
            yield from check(item, get_args(kind)[0], f"{path}[{index}]")
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            message, _, inner = str(exc).partition(" - at `$")
            yield path + inner.rstrip("`"), message[0].lower() + message[1:]


def _check_struct(value: Mapping[str, object], kind: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    tag = kind.__struct_config__.tag_field
    before = False
    for key, item in value.items():
        if key == tag:
            continue
        if key not in fields:
            before = True
            yield _join(path, key), f"unknown key; known here: {', '.join(sorted(fields))}"
            continue
        for problem in check(item, hints[fields[key].name], _join(path, key)):
            before = True
            yield problem
    for name, field in fields.items():
        if field.required and name not in value:
            before = True
            yield _join(path, name), "required, and missing"
    if not before:  # every field is right by itself: now the rules that tie fields together
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            yield path, str(exc).partition(" - at `$")[0]


def _check_union(value: object, kind: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any annotation
    members = {m.__struct_config__.tag: m for m in get_args(kind)}
    tag_field = next(iter(members.values())).__struct_config__.tag_field or "type"
    known = ", ".join(sorted(str(tag) for tag in members))
    if not isinstance(value, Mapping):
        yield path, f"expected a table, got {_toml_name(value)}"
    elif tag_field not in value:
        yield _join(path, tag_field), f"required, and missing; one of {known}"
    elif value[tag_field] not in members:
        yield _join(path, tag_field), f"unknown: {value[tag_field]!r}; one of {known}"
    else:
        yield from _check_struct(value, members[value[tag_field]], path)


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
        if header := re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", line):
            table = _resolve(header[2], counts)
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{index}]"
            lines[table] = number
        elif key := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=\s*(.*)""", line):
            lines[_join(table, _bare(key[1]))] = number
            for quote in ('"""', "'''"):
                if key[2].startswith(quote) and quote not in key[2][3:]:
                    until = quote
    return lines


def nearest(lines: Mapping[str, int], path: str) -> int | None:
    """The line of `path`, or of the closest table or key around it."""
    while path:
        if path in lines:
            return lines[path]
        path = re.sub(r"(\[[^\[\]]*\]|\.?[^.\[\]]+)$", "", path)
    return None


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


def _without_none(kind: Any) -> Any:  # noqa: ANN401 - any annotation
    if get_origin(kind) in (Union, UnionType):
        members = tuple(m for m in get_args(kind) if m is not NoneType)
        return members[0] if len(members) == 1 else Union[members]  # noqa: UP007 - built at run time
    return kind


def _is_tagged_union(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    return get_origin(kind) in (Union, UnionType) and all(
        isinstance(m, type) and issubclass(m, msgspec.Struct) for m in get_args(kind)
    )


def _holds_structs(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    inner = get_args(kind)[0] if get_args(kind) else None
    return isinstance(inner, type) and issubclass(inner, msgspec.Struct)


def _toml_name(value: object) -> str:
    names = {dict: "a table", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a float"}
    return names.get(type(value), type(value).__name__)
