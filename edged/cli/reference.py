"""A config Struct as a commented TOML file: every setting, its default, and the docstring under its field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec


def as_toml(kind: type[msgspec.Struct]) -> str:
    """Every table of `kind` with its settings commented out, so that the file means the defaults."""
    return "\n".join(
        block for field in msgspec.structs.fields(kind) for block in _table(field.name, field.default)
    )


def _table(name: str, defaults: Any) -> Iterator[str]:
    """A table, then those inside it."""
    lines = [*_comment(inspect.getdoc(type(defaults)) or ""), f"[{name}]"]
    documented = _docstrings(type(defaults))
    inner: dict[str, msgspec.Struct] = {}
    for field in msgspec.structs.fields(type(defaults)):
        value = getattr(defaults, field.name)
        if isinstance(value, msgspec.Struct):
            inner[f"{name}.{field.encode_name}"] = value
            continue
        lines += ["", *_comment(documented.get(field.name, ""))]
        lines.append(
            f"# {field.encode_name} =" if value is None else f"# {field.encode_name} = {_toml(value)}"
        )
    yield "\n".join(lines) + "\n"
    for path, value in inner.items():
        yield from _table(path, value)


def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the string literal that follows it in the class body."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__[:-1]):
        if parent is msgspec.Struct or not issubclass(parent, msgspec.Struct):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - what getsource gives for a class
        for before, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[before.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _comment(text: str) -> list[str]:
    return [
        f"# {line}".rstrip()
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, 100) or [""]
    ]


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict():
            return (
                "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
                if value
                else "{}"
            )
        case _:
            return str(value)
