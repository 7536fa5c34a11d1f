"""Questions and answers on the wire, and which of them a client takes.

Pure. Source: 2026-07-28 basic/patterns/mrtr.mdx, client/elicitation.mdx; 2025-11-25 client/*.mdx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edged.mcp import jsonrpc
from edged.mcp.asking import Form, Question, Reply, Roots, Sample, Visit
from edged.mcp.jsonrpc import Failure
from edged.mcp.modern import TASKS_EXTENSION
from edged.mcp.revision import Revision
from edged.mcp.schema import explain

MISSING_CAPABILITY: Final = -32021
_REQUIRED: Final[dict[type[Question], dict[str, Any]]] = {
    Form: {"elicitation": {"form": {}}},
    Visit: {"elicitation": {"url": {}}},
    Sample: {"sampling": {}},
    Roots: {"roots": {}},
}


_ANSWERS: Final[dict[type[Question], Any]] = {
    Form: Reply,
    Visit: Reply,
    Sample: dict[str, Any],
    Roots: dict[str, Any],
}


def takes(kind: type[Question], capabilities: Mapping[str, Any], revision: Revision) -> bool:
    """Whether a client with these capabilities, speaking this revision, takes questions of that kind."""
    if kind is Sample or kind is Roots:
        return ("sampling" if kind is Sample else "roots") in capabilities
    modes = capabilities.get("elicitation")
    if not isinstance(modes, dict) or not revision.elicitation:
        return False
    if kind is Visit:
        return revision.visits and "url" in modes
    return "form" in modes or "url" not in modes  # naming no mode means form


def missing_capability(required: dict[str, Any], revision: Revision, what: str) -> Failure:
    """The error for a client that did not declare what a request needs; the code exists in the stateless era."""
    message = f"{what}: the client did not declare this capability"
    if not revision.stateless:
        return Failure(jsonrpc.INVALID_REQUEST, message)
    return Failure(MISSING_CAPABILITY, message, {"requiredCapabilities": required})


def missing_tasks(revision: Revision) -> Failure:
    """Likewise for what is only done as a task."""
    return missing_capability({"extensions": {TASKS_EXTENSION: {}}}, revision, TASKS_EXTENSION)


def check_taken(
    questions: Mapping[str, Question], capabilities: Mapping[str, Any], revision: Revision
) -> None:
    """Raise Failure where the client does not take one of these questions."""
    refused = [type(q) for q in questions.values() if not takes(type(q), capabilities, revision)]
    if refused:
        required: dict[str, Any] = {}
        for kind in refused:
            for name, modes in _REQUIRED[kind].items():
                required[name] = {**required.get(name, {}), **modes}
        raise missing_capability(required, revision, ", ".join(sorted(required)))


def wire(question: Question, revision: Revision) -> dict[str, Any]:
    """The request as the client gets it: `method` and, where it has any, `params`."""
    match question:
        case Form(message=message, schema=schema):
            params: dict[str, Any] = {"message": message, "requestedSchema": schema}
            if revision.visits:
                params["mode"] = "form"
            return {"method": "elicitation/create", "params": params}
        case Visit(message=message, url=url, elicitation_id=elicitation_id):
            params = {"mode": "url", "message": message, "url": url}
            if not revision.stateless:
                params["elicitationId"] = elicitation_id
            return {"method": "elicitation/create", "params": params}
        case Sample(params=params):
            return {"method": "sampling/createMessage", "params": params}
        case Roots():
            return {"method": "roots/list"}


def read(key: str, question: Question, answer: object) -> Reply | dict[str, Any]:
    """The answer as the handler gets it; raises Failure naming the path at fault."""
    try:
        value: Reply | dict[str, Any] = msgspec.convert(answer, _ANSWERS[type(question)])
    except msgspec.ValidationError as exc:
        found = explain(exc).removeprefix("$")
        raise Failure(jsonrpc.INVALID_PARAMS, f"$.inputResponses.{key[:64]}{found}") from None
    return value
