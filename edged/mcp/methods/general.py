"""Methods that are about the protocol itself.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import BadArgument
from edged.mcp import jsonrpc, legacy
from edged.mcp.catalog import Tier
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.listing import ListName
from edged.mcp.offers import LogLevel
from edged.mcp.request import Request
from edged.mcp.results import Empty
from edged.mcp.witness import witnessed

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server


class _ListParams(msgspec.Struct, frozen=True, gc=False):
    cursor: str | UnsetType = UNSET


class _LevelParams(msgspec.Struct, frozen=True, gc=False):
    level: LogLevel


_list_params = msgspec.json.Decoder(_ListParams)
_level_params = msgspec.json.Decoder(_LevelParams)
_initialize_params = msgspec.json.Decoder(legacy.InitializeParams)
_members = msgspec.json.Decoder(dict[str, Raw])


def initialize(server: Server, conversation: Conversation, request: Request) -> None:
    """Agree on a revision of the handshake era."""
    if request.batch:
        raise Failure(jsonrpc.INVALID_REQUEST, "initialize may not be part of a batch")
    params = request.read(_initialize_params)
    conversation.revision = legacy.negotiate(params.protocol_version)
    conversation.client_capabilities = params.capabilities
    body = server.listings.initialized(conversation.principal.tier, conversation.revision)
    conversation.answer(request, body)


def ping(_server: Server, conversation: Conversation, request: Request) -> None:
    """Say that we are there."""
    conversation.answer(request, Empty())


def discover(server: Server, conversation: Conversation, request: Request) -> None:
    """Say what we speak and offer."""
    conversation.answer(request, server.listings.discovered(conversation.principal.tier))


def set_level(_server: Server, conversation: Conversation, request: Request) -> None:
    """Send log messages of this level and above from now on."""
    conversation.log_level = request.read(_level_params).level
    conversation.answer(request, Empty())


def list_tools(server: Server, conversation: Conversation, request: Request) -> None:
    """One page of the tools this peer may call."""
    _list(server, conversation, request, "tools")


def list_resources(server: Server, conversation: Conversation, request: Request) -> None:
    """One page of the resources this peer may read."""
    _list(server, conversation, request, "resources")


def list_templates(server: Server, conversation: Conversation, request: Request) -> None:
    """One page of the families of resources this peer may read."""
    _list(server, conversation, request, "resource_templates")


def list_prompts(server: Server, conversation: Conversation, request: Request) -> None:
    """One page of the prompts this peer may get."""
    _list(server, conversation, request, "prompts")


def _list(server: Server, conversation: Conversation, request: Request, name: ListName) -> None:
    cursor = request.read(_list_params).cursor
    tier = conversation.principal.tier
    page = server.listings.page(name, tier, request.revision, None if cursor is UNSET else cursor)
    conversation.answer(request, page)


def call_own(server: Server, conversation: Conversation, request: Request) -> None:
    """Run a method of our own, or say that there is none of that name."""
    method = server.methods.get(request.method)
    if method is None or method.tier > conversation.principal.tier:
        if method:
            server.refused(conversation.principal, request.method, f"needs {method.tier.name.lower()}")
        raise Failure(jsonrpc.METHOD_NOT_FOUND, f"unknown method {request.method[:128]!r}")
    members = request.read(_members)
    members.pop("_meta", None)
    try:
        params = server.reader(method.params).read(Raw(msgspec.json.encode(members)), request.splices)
    except BadArgument as exc:
        raise Failure(jsonrpc.INVALID_PARAMS, exc.message) from None
    handler = method.handler
    if server.witness and method.tier is Tier.OPERATOR:
        handler = witnessed(server.witness, request.method, handler)
    conversation.start(request, server.method_shapes[request.revision.version], handler, params)
