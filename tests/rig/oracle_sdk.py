"""The official SDK's low-level server with the echo rig's tools, told line by line in this process.

Its stream adapter forwards what cannot be parsed as the SDK's own stdio transport does.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import jsonschema  # type: ignore[import-untyped]  # it ships no types
import mcp_types as types
import pybase64
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from edged.mcp.catalog import Catalog, Tier
from tests.rig import echo_server
from tests.rig.oracle_quiet import quiet


def offered() -> Catalog:
    """What both servers offer: the echo rig's tools that leave the server as it was."""
    catalog = echo_server.catalog()
    catalog.remove("remove")
    catalog.remove("waiting")
    return catalog


TOOLS = {
    tool.name: types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )
    for tool in offered().visible(Tier.OPERATOR)
}
BUFFER = 4096


class Oracle:
    """One connection to it."""

    def __init__(
        self,
        messages: MemoryObjectSendStream[SessionMessage | Exception],
        answers: MemoryObjectReceiveStream[SessionMessage],
    ) -> None:
        self._messages = messages
        self._answers = answers

    async def tell(self, line: bytes) -> list[bytes]:
        """Send a line; give what was said once nothing in this process runs any more."""
        if line.strip():
            try:
                message: Any = SessionMessage(
                    types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                )
            except ValidationError as exc:
                message = exc
            await self._messages.send(message)
        await quiet()
        said = []
        while True:
            try:
                answer = self._answers.receive_nowait().message
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                return said
            said.append(answer.model_dump_json(by_alias=True, exclude_unset=True).encode())


@asynccontextmanager
async def connected() -> AsyncIterator[Oracle]:
    """A connection of its own to a server of its own."""
    server: Server[Any] = Server(
        "echo",
        version="1",
        title="Echo",
        instructions="Say it.",
        on_list_tools=_list,
        on_call_tool=_call,
        on_subscriptions_listen=ListenHandler(InMemorySubscriptionBus()),
    )
    read_in, read_out = anyio.create_memory_object_stream[SessionMessage | Exception](BUFFER)
    write_in, write_out = anyio.create_memory_object_stream[SessionMessage](BUFFER)

    async def serve() -> None:
        await server.run(read_out, write_in, server.create_initialization_options())

    async with read_in, read_out, write_in, write_out, anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield Oracle(read_in, write_out)
        tasks.cancel_scope.cancel()


async def _list(_context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    if params is not None and params.cursor is not None:
        raise MCPError(types.INVALID_PARAMS, "no such cursor")
    return types.ListToolsResult(tools=[TOOLS[name] for name in sorted(TOOLS)])


async def _call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, "unknown tool")
    arguments = params.arguments or {}
    try:
        jsonschema.validate(arguments, tool.input_schema)
        return await _run(context, params.name, arguments)
    except (jsonschema.ValidationError, ValueError) as exc:
        return _said("wrong", {"error": str(exc)}, is_error=True)


async def _run(context: Any, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    match name:
        case "echo":
            text = arguments["text"] * arguments.get("times", 1)
            return _said(text, {"text": text})
        case "weigh":
            data = pybase64.b64decode(arguments["data"], validate=True)
            return _said(f"{len(data)} bytes", {"length": len(data), "total": zlib.crc32(data)})
        case "count":
            steps = arguments.get("steps", 3)
            for step in range(steps):
                await context.session.report_progress(step + 1, steps, "counting")
            return _said("counted", {"text": str(steps)})
        case "wait":
            await anyio.sleep_forever()
        case "refuse":
            return _said("the queue is full", {}, is_error=True)
        case "fail":
            raise RuntimeError("secret detail")
        case "paint":
            picture = types.ImageContent(
                type="image", data=pybase64.b64encode(echo_server.PIXEL).decode(), mime_type="image/png"
            )
            result = _said("a pixel", {"text": "a pixel"})
            return result.model_copy(update={"content": [*result.content, picture]})
    return _said("0", {"text": "0"})


def _said(text: str, structured: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    content = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=is_error)
