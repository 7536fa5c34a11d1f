"""The official JSON Schema of every revision, taken from the conformance suite's npm package.

The package carries four of them, one as of a commit between; 2024-11-05 is 2025-03-26 without what that added.
What is made here is the specification repository's `schema/<revision>/schema.json` at b0f60ba, descriptions
aside: `DIGESTS` was taken from there, and a schema that does not match is refused.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).parents[2]
SUITE: Final = CHECKOUT / ".venv/conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js"
DIGESTS: Final = {
    "2024-11-05": "ad0671566000a2602de18095bcd8b50963c57b642b3609b7faf677eb9358d19f",
    "2025-03-26": "f86346889a643ae9c8f2a1ebc6378ff70824e9d8c6b54d0600366ef45a05b4ec",
    "2025-06-18": "2db0b2fd6ba62efdf94cc032ac41a947acbacfc3039daadfdaf3938ce1be8f17",
    "2025-11-25": "e794d5b5d0d9d0dff1178388461b6cde9748055df0925c4d37cc7dcde17cf882",
    "2026-07-28": "56dbd3961d9296b23dc5ebe1a107011ab577a3c72920e5922e17bd5ebeb6cd12",
}
NEWEST: Final = max(DIGESTS)

Schema = dict[str, Any]


@cache
def official() -> dict[str, Schema]:
    """The schema of each revision, by revision; AssertionError where one is not the published one."""
    carried = _plain(json.loads(_printed()))
    made = {
        "2024-11-05": _first(carried["2025-03-26"]),
        "2025-03-26": carried["2025-03-26"],
        "2025-06-18": _with_real_bounds(carried["2025-06-18"]),
        "2025-11-25": _with_real_bounds(carried["2025-11-25"]),
        "2026-07-28": _final(carried["newest"]),
    }
    for revision, schema in made.items():
        assert digest(schema) == DIGESTS[revision], f"not the schema of {revision}: {digest(schema)}"
    return made


def definitions(schema: Schema) -> Schema:
    """The named parts of a schema of either draft."""
    found: Schema = schema["$defs" if "$defs" in schema else "definitions"]
    return found


def digest(schema: Schema) -> str:
    """SHA-256 of the schema without its descriptions."""
    return hashlib.sha256(json.dumps(_plain(schema), sort_keys=True).encode()).hexdigest()


def _printed() -> bytes:
    assert SUITE.exists(), f"{SUITE} is missing: `./dev test` installs it"
    command = [CHECKOUT / ".venv/bin/node", CHECKOUT / "tests/rig/schemas.mjs", SUITE]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _plain(value)
            for key, value in schema.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema


def _first(second: Schema) -> Schema:
    """2024-11-05: 2025-03-26 without batches, audio, tool annotations, completion capability, progress messages."""
    schema: Schema = json.loads(json.dumps(second))
    parts = definitions(schema)
    annotations = parts.pop("Annotations")
    for name in ("AudioContent", "ToolAnnotations", "JSONRPCBatchRequest", "JSONRPCBatchResponse"):
        del parts[name]
    del parts["Tool"]["properties"]["annotations"]
    del parts["ServerCapabilities"]["properties"]["completions"]
    del parts["ProgressNotification"]["properties"]["params"]["properties"]["message"]
    parts["Annotated"] = {"properties": {"annotations": annotations}, "type": "object"}
    message = parts["JSONRPCMessage"]
    message["anyOf"] = [kind for kind in message["anyOf"] if "items" not in kind]
    _replace(schema, {"$ref": "#/definitions/Annotations"}, annotations)
    _replace(schema, {"$ref": "#/definitions/AudioContent"}, None)
    return schema


def _with_real_bounds(schema: Schema) -> Schema:
    """Later corrected: the bounds of a number asked for are numbers, not integers."""
    properties = definitions(schema)["NumberSchema"]["properties"]
    for name in {"default", "minimum", "maximum"} & set(properties):
        properties[name] = {"type": "number"}
    return schema


def _final(schema: Schema) -> Schema:
    """2026-07-28 as released: the result that ends a subscription has a response of its own."""
    parts = definitions(schema)
    parts["SubscriptionsListenResultMetaObject"] = parts.pop("SubscriptionsListenResultMeta")
    result = {"$ref": "#/$defs/SubscriptionsListenResult"}
    response = parts["DiscoverResultResponse"]
    parts["SubscriptionsListenResultResponse"] = {
        **response,
        "properties": {**response["properties"], "result": result},
    }
    meta = "#/$defs/SubscriptionsListenResultMeta"
    _replace(schema, {"$ref": meta}, {"$ref": f"{meta}Object"})
    return schema


def _replace(node: Any, old: Schema, new: Schema | None) -> None:
    """Put `new` wherever `old` stands as a value; drop it from lists where `new` is None."""
    if isinstance(node, list):
        node[:] = [new if item == old else item for item in node if item != old or new is not None]
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if value == old:
            node[key] = new
        elif isinstance(value, (dict, list)):
            _replace(value, old, new)
