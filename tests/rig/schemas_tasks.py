"""The tasks extension as JSON Schema: it has no official one, so this is SEP-2663's TypeScript, put by hand."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_TASK: Final = {
    "taskId": _TEXT,
    "statusMessage": _TEXT,
    "createdAt": {"type": "string", "format": "date-time"},
    "lastUpdatedAt": {"type": "string", "format": "date-time"},
    "ttlMs": {"type": ["integer", "null"], "minimum": 0},
    "pollIntervalMs": {"type": "integer", "minimum": 0},
}
_REQUIRED: Final = ["taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"]
_VARIANTS: Final[dict[str, Schema]] = {
    "working": {},
    "input_required": {"inputRequests": {"$ref": "#/$defs/InputRequests"}},
    "completed": {"result": _OBJECT},
    "failed": {"error": {"$ref": "#/$defs/Error"}},
    "cancelled": {},
}


def add_to(parts: Schema) -> None:
    """Add the extension to the definitions of 2026-07-28."""
    result = {"_meta": {"$ref": "#/$defs/ResultMetaObject"}, "resultType": {"const": "complete"}}
    created = {**result, "resultType": {"const": "task"}, "status": {"enum": list(_VARIANTS)}}
    parts["CreateTaskResult"] = _closed({**_TASK, **created}, [*_REQUIRED, "resultType"])
    parts["GetTaskResult"] = {"anyOf": _variants(result, ["resultType"])}
    for name, method in (("GetTask", "get"), ("UpdateTask", "update"), ("CancelTask", "cancel")):
        parts[f"{name}Request"] = {"properties": {"method": {"const": f"tasks/{method}"}}}
    for name in ("UpdateTaskResult", "CancelTaskResult"):
        parts[name] = _closed(result, ["resultType"])
    told = {"_meta": {"$ref": "#/$defs/NotificationMetaObject"}}
    parts["TaskStatusNotification"] = {
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "method": {"const": "notifications/tasks"},
            "params": {"anyOf": _variants(told, [])},
        },
        "required": ["jsonrpc", "method", "params"],
    }
    may_be = parts["CallToolResultResponse"]["properties"]["result"]["anyOf"]
    may_be.append({"$ref": "#/$defs/CreateTaskResult"})
    parts["SubscriptionFilter"]["properties"]["taskIds"] = {"type": "array", "items": _TEXT}


def _variants(more: Schema, required: list[str]) -> list[Schema]:
    return [
        _closed({**_TASK, **more, "status": {"const": status}, **own}, [*_REQUIRED, *required, *own])
        for status, own in _VARIANTS.items()
    ]


def _closed(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
