"""What each MCP method does, and the table of methods of each era.

Pure. A new method is one function here and one line in a table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import BadArgument
from edged.mcp import jsonrpc, legacy, modern
from edged.mcp.catalog import Principal, Tool
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.request import Request
from edged.mcp.results import Empty
from edged.mcp.revision import Revision

if TYPE_CHECKING:  # the server imports these tables
    from edged.mcp.server import Server

_log = logging.getLogger(__name__)

Run: TypeAlias = Callable[["Server", Conversation, Request, Revision], None]


class _ListParams(msgspec.Struct, frozen=True, gc=False):
    cursor: str | UnsetType = UNSET


class _CallParams(msgspec.Struct, frozen=True, gc=False):
    name: str
    arguments: Raw = Raw(b"{}")


_list_params = msgspec.json.Decoder(_ListParams)
_call_params = msgspec.json.Decoder(_CallParams)
_initialize_params = msgspec.json.Decoder(legacy.InitializeParams)
_listen_params = msgspec.json.Decoder(modern.ListenParams)
_members = msgspec.json.Decoder(dict[str, Raw])


def initialize(server: Server, conversation: Conversation, request: Request, _: Revision) -> None:
    """Agree on a revision of the handshake era."""
    if request.batch:
        raise Failure(jsonrpc.INVALID_REQUEST, "initialize may not be part of a batch")
    conversation.revision = legacy.negotiate(request.read(_initialize_params).protocol_version)
    body = server.listings.initialized(conversation.principal.tier, conversation.revision)
    conversation.answer(request, body)


def ping(_server: Server, conversation: Conversation, request: Request, _: Revision) -> None:
    """Say that we are there."""
    conversation.answer(request, Empty())


def discover(server: Server, conversation: Conversation, request: Request, _: Revision) -> None:
    """Say what we speak and offer."""
    conversation.answer(request, server.listings.discovered(conversation.principal.tier))


def list_tools(server: Server, conversation: Conversation, request: Request, revision: Revision) -> None:
    """One page of the tools this peer may call."""
    cursor = request.read(_list_params).cursor
    page = server.listings.tools(conversation.principal.tier, revision, None if cursor is UNSET else cursor)
    conversation.answer(request, page)


def call_tool(server: Server, conversation: Conversation, request: Request, revision: Revision) -> None:
    """Run a tool; wrong arguments are its result, an unknown tool is an error."""
    params = request.read(_call_params)
    tool = _callable(server, params.name, conversation.principal)
    shape = server.tool_shapes[revision.version]
    try:
        arguments = server.reader(tool.arguments).read(params.arguments, request.splices)
    except BadArgument as exc:
        conversation.answer(request, shape.excuse(exc))
    else:
        conversation.start(request, shape, tool.handler, arguments)


def listen(_server: Server, conversation: Conversation, request: Request, _: Revision) -> None:
    """Open a subscription to what changes."""
    conversation.subscribe(request, request.read(_listen_params).notifications)


def call_own(server: Server, conversation: Conversation, request: Request, revision: Revision) -> None:
    """Run a method of our own, or say that there is none of that name."""
    method = server.methods.get(request.method)
    if method is None or method.tier > conversation.principal.tier:
        raise Failure(jsonrpc.METHOD_NOT_FOUND, f"unknown method {request.method[:128]!r}")
    members = request.read(_members)
    members.pop("_meta", None)
    try:
        params = server.reader(method.params).read(Raw(msgspec.json.encode(members)), request.splices)
    except BadArgument as exc:
        raise Failure(jsonrpc.INVALID_PARAMS, exc.message) from None
    conversation.start(request, server.method_shapes[revision.version], method.handler, params)


def _callable(server: Server, name: str, principal: Principal) -> Tool:
    tool = server.catalog.tools.get(name)
    if tool is None or tool.tier > principal.tier:
        if tool:
            _log.warning("call above tier principal=%s tool=%s", principal.name, name)
        raise Failure(jsonrpc.INVALID_PARAMS, f"unknown tool {name[:128]!r}")
    return tool


LEGACY: Final[dict[str, Run]] = {
    "initialize": initialize,
    "ping": ping,
    "tools/list": list_tools,
    "tools/call": call_tool,
}
MODERN: Final[dict[str, Run]] = {
    "server/discover": discover,
    "subscriptions/listen": listen,
    "tools/list": list_tools,
    "tools/call": call_tool,
}
BEFORE_HANDSHAKE: Final = frozenset({"initialize", "ping"})
TAKE_BLOBS: Final = frozenset({call_tool, call_own})
