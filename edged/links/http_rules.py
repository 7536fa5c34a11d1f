"""MCP's own rules for HTTP: which era a message is of, what its header must repeat, which status it gets.

Pure. The order of the checks matters: an envelope that is missing comes before a header that disagrees with
it, and that before a version we do not speak. What is left is the conversation's to judge.
Source: MCP 2026-07-28 basic/transports/streamable-http.mdx ("Request Metadata", "Server Validation").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.links.http_head import Headers
from edged.links.http_params import Mirrored, decode, disagreement
from edged.mcp import jsonrpc, legacy, modern
from edged.mcp.jsonrpc import Failure, Id, Message

VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
SESSION: Final = "mcp-session-id"
LAST_EVENT: Final = "last-event-id"

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021

_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",  # these three: SEP-2663, "Streamable HTTP: Routing Headers"
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_STATUS: Final = {
    jsonrpc.METHOD_NOT_FOUND: 404,
    jsonrpc.PARSE_ERROR: 400,
    jsonrpc.INVALID_REQUEST: 400,
    jsonrpc.INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    modern.UNSUPPORTED_VERSION: 400,
}


class _ErrorBody(msgspec.Struct):
    code: int


class Outgoing(msgspec.Struct):
    """As much of a message of ours as decides where it goes."""

    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    error: _ErrorBody | UnsetType = UNSET

    @property
    def is_answer(self) -> bool:
        """Whether it answers a request."""
        return self.method is UNSET

    @property
    def status(self) -> int:
        """HTTP's word for it, where it is the whole answer."""
        return _STATUS.get(self.error.code, 200) if isinstance(self.error, _ErrorBody) else 200


class Params(msgspec.Struct):
    """As much of a request's parameters as its header repeats, or as decides where its answers go."""

    meta: Any = msgspec.field(default=UNSET, name="_meta")
    name: Any = None
    uri: Any = None
    task_id: Any = msgspec.field(default=None, name="taskId")
    request_id: Any = msgspec.field(default=None, name="requestId")
    arguments: Raw = Raw(b"null")

    def in_meta(self, key: str) -> Any:
        """A member of `_meta`, None where there is none."""
        return self.meta.get(key) if isinstance(self.meta, dict) else None

    def naming(self, method: str) -> Any:
        """What `Mcp-Name` has to say for a method; None where nothing."""
        match _NAMED_BY.get(method):
            case "name":
                return self.name
            case "uri":
                return self.uri
            case "taskId":
                return self.task_id
            case _:
                return None


outgoing = msgspec.json.Decoder(Outgoing).decode
params_of = msgspec.json.Decoder(Params).decode


def is_modern(params: Params, headers: Headers) -> bool:
    """Whether a request is of the stateless era: its envelope says so, or a header no handshake could have."""
    version = headers.get(VERSION)
    return modern.VERSION_KEY in (params.meta if isinstance(params.meta, dict) else ()) or (
        version is not None and version not in legacy.REVISIONS
    )


def check(
    message: Message, params: Params, headers: Headers, lookup: Callable[[str], tuple[Mirrored, ...]]
) -> None:
    """Raise the Failure that a request of the stateless era earns by its header, if any.

    `lookup` gives the arguments that a tool wants mirrored.
    """
    for key in (modern.VERSION_KEY, modern.CAPABILITIES_KEY):
        if key not in (params.meta if isinstance(params.meta, dict) else ()):
            raise Failure(jsonrpc.INVALID_PARAMS, f"$._meta: {key} is required, and missing")
    if (problem := _disagreement(message, params, headers)) is not None:
        raise Failure(HEADER_MISMATCH, problem)
    version = params.in_meta(modern.VERSION_KEY)
    if message.method == "tools/call" and isinstance(params.name, str) and version in modern.SUPPORTED:
        _check_params(params, headers, lookup(params.name))


def _disagreement(message: Message, params: Params, headers: Headers) -> str | None:
    for name in (VERSION, METHOD, NAME):
        if len(headers.all(name)) > 1:
            return f"{name}: more than once"
    if headers.get(VERSION) != params.in_meta(modern.VERSION_KEY):
        return "MCP-Protocol-Version: not what _meta says"
    if headers.get(METHOD) != message.method:
        return "Mcp-Method: not the method"
    named = params.naming(message.method)
    if named is not None and decode(headers.get(NAME) or "") != named:
        return f"Mcp-Name: not what {_NAMED_BY[message.method]} says"
    return None


def _check_params(params: Params, headers: Headers, wanted: tuple[Mirrored, ...]) -> None:
    if not wanted:
        return
    problem = disagreement(wanted, msgspec.json.decode(params.arguments), headers)
    if problem is not None:
        raise Failure(HEADER_MISMATCH, problem)
