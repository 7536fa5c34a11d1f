"""What of a call's arguments may be recorded: enough to say which ones they were, never what they held.

Pure. Bytes and long text become their size and hash, a setting that its Struct declares a secret becomes `(set)`.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from edged.masking import MASK, secret_paths

TEXT_MAX: Final = 96
"""Characters of a text that stands as it is: a model's name, a version, a path."""
HASHED_BYTES: Final = 16
"""Of a SHA-256 that is shown: enough to compare."""
ITEMS_MAX: Final = 16
"""Of an array or object; the rest is counted."""
DEPTH_MAX: Final = 6

Plain = dict[str, Any]


def redacted(arguments: object) -> Plain:
    """The arguments of a call, as plain values in an object."""
    secrets = _secrets(type(arguments)) if isinstance(arguments, msgspec.Struct) else frozenset()
    shown = _shown(arguments, "", secrets, 0)
    return shown if isinstance(shown, dict) else {} if shown is None else {"value": shown}


def _shown(value: object, path: str, secrets: frozenset[str], depth: int) -> Any:
    if path in secrets:
        return MASK if value else None
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, enum.Enum):
        return _shown(value.value, path, secrets, depth)
    if isinstance(value, int | str | bytes | bytearray | memoryview):
        return _shown_scalar(value)
    return "…" if depth == DEPTH_MAX else _shown_within(value, path, secrets, depth + 1)


def _shown_scalar(value: int | str | bytes | bytearray | memoryview) -> Any:
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else "a large number"
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else _hashed(value.encode("utf-8", "backslashreplace"))
    return _hashed(value)


def _shown_within(value: object, path: str, secrets: frozenset[str], depth: int) -> Any:
    if isinstance(value, msgspec.Struct):
        pairs = [
            (name, getattr(value, field))
            for name, field in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        ]
        return _object([(name, item) for name, item in pairs if item is not None], path, secrets, depth)
    if isinstance(value, Mapping):
        return _object([(str(key)[:TEXT_MAX], item) for key, item in value.items()], path, secrets, depth)
    if isinstance(value, Sequence | set | frozenset):
        shown = [_shown(item, path, secrets, depth) for item in list(value)[:ITEMS_MAX]]
        return shown if len(value) <= ITEMS_MAX else [*shown, f"and {len(value) - ITEMS_MAX} more"]
    data = getattr(value, "data", None)  # a blob of the protocol's
    return _hashed(data) if isinstance(data, bytes | bytearray | memoryview) else type(value).__name__


def _object(pairs: list[tuple[str, object]], path: str, secrets: frozenset[str], depth: int) -> Plain:
    shown = {
        name: _shown(item, f"{path}.{name}" if path else name, secrets, depth)
        for name, item in pairs[:ITEMS_MAX]
    }
    return shown if len(pairs) <= ITEMS_MAX else {**shown, "…": len(pairs) - ITEMS_MAX}


def _hashed(data: bytes | bytearray | memoryview) -> Plain:
    return {"bytes": memoryview(data).nbytes, "sha256": hashlib.sha256(data).hexdigest()[: 2 * HASHED_BYTES]}


@cache
def _secrets(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(secret_paths(kind))
