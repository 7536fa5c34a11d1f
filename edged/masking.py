"""What of a config may be shown: every value but those its Struct declares a secret.

Pure. A setting is a secret where its type says so, whatever it is called:

    password: Annotated[str, SECRET] = ""

The rule is the type's alone, so a new room's secret is masked by the same line that declares it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

SECRET: Final = msgspec.Meta(extra={"secret": True}, extra_json_schema={"writeOnly": True})
"""Marks a setting that is never shown; `writeOnly` is JSON Schema's word for it."""

MASK: Final = "(set)"
"""Stands for a secret that has a value; one without (None, "", 0, an empty table) is shown as it is."""


class Masked(NamedTuple):
    """A config as plain values, and the paths at which a secret was masked."""

    value: dict[str, Any]
    paths: list[str]


def masked(config: msgspec.Struct) -> Masked:
    """The whole of a Struct as JSON-able values, without what it declares a secret."""
    paths: list[str] = []
    value: dict[str, Any] = _shown(config, _type_of(type(config)), "", paths)
    return Masked(value, paths)


def secret_paths(kind: type[msgspec.Struct], prefix: str = "") -> list[str]:
    """The paths of every setting that `kind` or a Struct inside it declares a secret."""
    found: list[str] = []
    for field in _fields(kind):
        path = f"{prefix}{field.encode_name}"
        if _holds_secret(field.type):
            found.append(path)
        for inner in _structs(field.type):
            found += secret_paths(inner, f"{path}.")
    return found


def _shown(value: Any, kind: inspect.Type, path: str, paths: list[str]) -> Any:
    if _is_secret(kind):
        if value:
            paths.append(path)
        return MASK if value else msgspec.to_builtins(value)
    if isinstance(value, msgspec.Struct):
        return _shown_struct(value, path, paths)
    if isinstance(value, Mapping):
        item = _item_type(kind)
        return {str(key): _shown(one, item, f"{path}.{key}", paths) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        item = _item_type(kind)
        return [_shown(one, item, f"{path}[{index}]", paths) for index, one in enumerate(value)]
    return msgspec.to_builtins(value)


def _shown_struct(struct: msgspec.Struct, path: str, paths: list[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    tag = struct.__struct_config__.tag
    if tag is not None:
        shown[struct.__struct_config__.tag_field or "type"] = tag
    for field in _fields(type(struct)):
        at = f"{path}.{field.encode_name}" if path else field.encode_name
        shown[field.encode_name] = _shown(getattr(struct, field.name), field.type, at, paths)
    return shown


@cache
def _type_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _fields(kind: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = _type_of(kind)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - what a Struct is
    return info.fields


def _is_secret(kind: inspect.Type) -> bool:
    """Whether a type, or a member of a union, is marked."""
    if isinstance(kind, inspect.Metadata):
        return bool((kind.extra or {}).get("secret")) or _is_secret(kind.type)
    return isinstance(kind, inspect.UnionType) and any(map(_is_secret, kind.types))


def _holds_secret(kind: inspect.Type) -> bool:
    """Whether a type is marked, or that of what it contains is."""
    return _is_secret(kind) or any(_holds_secret(item) for plain in _plain(kind) for item in _items(plain))


def _plain(kind: inspect.Type) -> list[inspect.Type]:
    """A type without its bounds; the members of a union."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [plain for member in kind.types for plain in _plain(member)]
    return [kind]


def _item_type(kind: inspect.Type) -> inspect.Type:
    """What a container's values may be. Of several they may be all: one secret masks its neighbours in a tuple."""
    return inspect.UnionType(tuple(item for plain in _plain(kind) for item in _items(plain)))


def _items(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(kind, (inspect.DictType, inspect.FrozenDictType)):
        return (kind.value_type,)
    if isinstance(kind, inspect.TupleType):
        return kind.item_types
    return (kind.item_type,) if isinstance(kind, inspect.CollectionType) else ()


def _structs(kind: inspect.Type) -> list[type[msgspec.Struct]]:
    """The Structs that a value of this type may hold."""
    found: list[type[msgspec.Struct]] = []
    for plain in _plain(kind):
        if isinstance(plain, inspect.StructType):
            found.append(plain.cls)
        for item in _items(plain):
            found += _structs(item)
    return found
