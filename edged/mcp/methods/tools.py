"""Calling tools.

Pure. Source: 2026-07-28 server/tools.mdx.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from edged.errors import BadArgument
from edged.mcp import jsonrpc, questions
from edged.mcp.catalog import Principal, Tool
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.modern import knows_tasks
from edged.mcp.request import Request
from edged.mcp.rounds import RoundParams

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server

_log = logging.getLogger(__name__)


class _CallParams(RoundParams, frozen=True, gc=False):
    name: str
    arguments: Raw = Raw(b"{}")


_call_params = msgspec.json.Decoder(_CallParams)


def call_tool(server: Server, conversation: Conversation, request: Request) -> None:
    """Run a tool; wrong arguments are its result, an unknown tool is an error."""
    params = request.read(_call_params)
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
    conversation.start(request, shape, tool.handler, arguments)


def _callable(server: Server, name: str, principal: Principal) -> Tool:
    tool = server.catalog.tools.get(name)
    if tool is None or tool.tier > principal.tier:
        if tool:
            _log.warning("call above tier principal=%s tool=%s", principal.name, name)
        raise Failure(jsonrpc.INVALID_PARAMS, f"unknown tool {name[:128]!r}")
    return tool
