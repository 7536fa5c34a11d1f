"""Whether a message of the server's is what its revision's official schema says, and no more than that.

The official schemas let unknown fields pass. What is sent to an older revision has to be without the fields of
later ones, so the definitions of what a server sends are closed here: a field they do not name is a fault.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it ships no types
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # likewise

from tests.rig import schemas_tasks
from tests.rig.schemas import NEWEST, Schema, definitions, official

LATEST_HANDSHAKE: Final = "2025-11-25"
# Open by the specification: metadata, JSON values, errors, and what only a client sends.
_OPEN: Final = re.compile(r"Meta|^JSON|Error$|^Result$|^EmptyResult$|Request|Notification|^Client|Capability")


class Judge:
    """Judges messages by one revision's schema; each method gives what is wrong, or None."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        schema: Schema = json.loads(json.dumps(official()[revision]))
        self._parts = definitions(schema)
        if revision == NEWEST:
            schemas_tasks.add_to(self._parts)
        self._root = "$defs" if "$defs" in schema else "definitions"
        self._kind = jsonschema.validators.validator_for(schema)
        self._schema = schema
        self._validators: dict[str, Any] = {}
        self._by_method = {
            part["properties"]["method"]["const"]: name
            for name, part in self._parts.items()
            if "const" in part.get("properties", {}).get("method", {})
        }
        self._by_code = dict(_codes(self._parts))
        for name, part in self._parts.items():
            if "properties" in part and not _OPEN.search(name):
                part.setdefault("additionalProperties", False)

    def answer(self, method: str, message: Any) -> str | None:
        """Judge an answer that carries the result of `method`."""
        request = self._by_method.get(method)
        if request is None:
            return self._problem("any", self._envelope({"$ref": self._ref("Result")}), message)
        name = request.removesuffix("Request")
        response = self._parts.get(f"{name}ResultResponse")
        if response is not None:
            result = response["properties"]["result"]
        else:
            known = f"{name}Result" if f"{name}Result" in self._parts else "EmptyResult"
            result = {"$ref": self._ref(known)}
        return self._problem(method, self._envelope(result), message)

    def error(self, message: Any) -> str | None:
        """Judge an answer that carries an error."""
        name = "JSONRPCErrorResponse" if "JSONRPCErrorResponse" in self._parts else "JSONRPCError"
        rules: list[Schema] = [{"$ref": self._ref(name)}]
        code = message["error"].get("code")
        if special := self._by_code.get(code):
            about = {"$ref": self._ref(special)}
            whole = "error" in self._parts[special]["properties"]
            rules.append(about if whole else {"properties": {"error": about}})
        return self._problem(f"error {code}", {"allOf": rules}, message)

    def unasked(self, message: Any) -> str | None:
        """Judge a notification or a request of the server's."""
        method = message["method"]
        if (name := self._by_method.get(method)) is None:
            return f"{self.revision} has no {method}"
        return self._problem(method, {"$ref": self._ref(name)}, message)

    def part(self, name: str, value: Any) -> str | None:
        """Judge a value by one of the schema's definitions."""
        return self._problem(name, {"$ref": self._ref(name)}, value)

    def _problem(self, key: str, rule: Schema, message: Any) -> str | None:
        if key not in self._validators:
            self._validators[key] = self._kind({**rule, self._root: self._parts})
        error = best_match(self._validators[key].iter_errors(message))
        return error and f"{self.revision} {key}: {error.json_path}: {error.message[:300]}"

    def _envelope(self, result: Schema) -> Schema:
        name = "JSONRPCResultResponse" if "JSONRPCResultResponse" in self._parts else "JSONRPCResponse"
        return {"allOf": [{"$ref": self._ref(name)}, {"properties": {"result": result}}]}

    def _ref(self, name: str) -> str:
        return f"#/{self._root}/{name}"


@cache
def judge(revision: str) -> Judge:
    """The judge of a revision."""
    return Judge(revision)


def _codes(parts: Schema) -> list[tuple[int, str]]:
    """The error codes that a revision gives a shape, with the name of that shape."""
    found = []
    for name, part in parts.items():
        if name.endswith("Error") and "properties" in part:
            text = json.dumps(part)
            if code := re.search(r'"code": \{"const": (-\d+)', text):
                found.append((int(code[1]), name))
    return found
