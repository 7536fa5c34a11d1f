"""Calling tools.

Pure. Source: 2026-07-28 server/tools.mdx.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from edged.errors import BadArgument
from edged.mcp import jsonrpc, questions
from edged.mcp.catalog import Principal, Tier, Tool
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.modern import knows_tasks
from edged.mcp.request import Request
from edged.mcp.rounds import RoundParams
from edged.mcp.witness import witnessed

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server

_log = logging.getLogger(__name__)

_BRACE: Final = 0x7B  # {


class _CallParams(RoundParams, frozen=True, gc=False):
    name: str
    arguments: Raw = Raw(b"{}")


_call_params = msgspec.json.Decoder(_CallParams)


def call_tool(server: Server, conversation: Conversation, request: Request) -> None:
    """Run a tool; arguments it does not take are its result, an unknown tool or no object an error."""
    params = request.read(_call_params)
    if memoryview(params.arguments)[0] != _BRACE:
        raise Failure(jsonrpc.INVALID_PARAMS, "$.arguments: expected an object")
    tool = _callable(server, params.name, conversation.principal)
    shape = server.tool_shapes[request.revision.version]
    if tool.needs_tasks and not (server.tasks and knows_tasks(request.meta)):
        raise questions.missing_tasks(request.revision)
    try:
        arguments = server.reader(tool.arguments).read(params.arguments, request.splices)
    except BadArgument as exc:
        conversation.answer(request, shape.excuse(exc))
        return
    request.subject = params.name
    server.rounds.resume(request, conversation.principal, arguments, params)
    conversation.start(request, shape, _handler(server, tool, conversation.principal), arguments)


def _handler(server: Server, tool: Tool, principal: Principal) -> Callable[[Any, Any], object]:
    """The tool's, on record where somebody keeps one."""
    witness = server.witness
    if witness and tool.tier is Tier.OPERATOR:
        return witnessed(witness, tool.name, tool.handler, frees=tool.frees)
    if witness and tool.tier is Tier.ACT:
        witness.called(principal, tool.name)
    return tool.handler


def _callable(server: Server, name: str, principal: Principal) -> Tool:
    tool = server.catalog.tools.get(name)
    if tool is None or tool.tier > principal.tier:
        if tool:
            _log.warning("call above tier principal=%s tool=%s", principal.name, name)
            server.refused(
                principal, name, f"{principal.tier.name.lower()} is below {tool.tier.name.lower()}"
            )
        raise Failure(jsonrpc.INVALID_PARAMS, f"unknown tool {name[:128]!r}")
    return tool
