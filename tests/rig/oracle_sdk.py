"""The official SDK's low-level server with the echo rig's tools, told line by line in this process.

Its stream adapter forwards what cannot be parsed as the SDK's own stdio transport does.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import anyio
import jsonschema  # type: ignore[import-untyped]  # it ships no types
import mcp_types as types
import pybase64
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from edged.mcp.catalog import Tier
from tests.rig import echo_server
from tests.rig.oracle_offers import ITEMS_URI, NAMES, NOTE, NOTE_URI, greeting, item, offered
from tests.rig.oracle_quiet import quiet

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
    for tool in offered().tools.visible(Tier.OPERATOR)
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
        said: list[bytes] = []
        while True:
            try:
                answer = self._answers.receive_nowait().message
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                return said
            said.append(answer.model_dump_json(by_alias=True, exclude_unset=True).encode())


@asynccontextmanager
async def connected() -> AsyncIterator[Oracle]:
    """A connection of its own to a server of its own."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # old revisions are what is compared, too
    server: Server[Any] = Server(
        "echo",
        version="1",
        title="Echo",
        instructions="Say it.",
        on_list_tools=_list,
        on_call_tool=_call,
        on_list_resources=_list_resources,
        on_list_resource_templates=_list_templates,
        on_read_resource=_read,
        on_subscribe_resource=_watch,
        on_unsubscribe_resource=_watch,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
        on_completion=_complete,
        on_set_logging_level=_set_level,
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


def _check_cursor(params: types.PaginatedRequestParams | None) -> None:
    if params is not None and params.cursor is not None:
        raise MCPError(types.INVALID_PARAMS, "no such cursor")


async def _list(_context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    _check_cursor(params)
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
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=is_error)


async def _list_resources(
    _context: Any, params: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    _check_cursor(params)
    return types.ListResourcesResult(
        resources=[types.Resource(uri=NOTE_URI, name="note", mime_type="text/plain")]
    )


async def _list_templates(
    _context: Any, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    _check_cursor(params)
    template = types.ResourceTemplate(uri_template=ITEMS_URI, name="item", mime_type="text/plain")
    return types.ListResourceTemplatesResult(resource_templates=[template])


def _text_of(context: Any, uri: str) -> str:
    if uri == NOTE_URI:
        return NOTE
    if found := re.fullmatch(r"test://items/([^/?#]+)", uri):
        return item(unquote(found[1]))
    modern = context.protocol_version == types.LATEST_PROTOCOL_VERSION
    raise MCPError(types.INVALID_PARAMS if modern else -32002, "no such resource", {"uri": uri})


async def _read(context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    held = types.TextResourceContents(
        uri=params.uri, mime_type="text/plain", text=_text_of(context, params.uri)
    )
    return types.ReadResourceResult(contents=[held])


async def _watch(
    context: Any, params: types.SubscribeRequestParams | types.UnsubscribeRequestParams
) -> types.EmptyResult:
    _text_of(context, params.uri)
    return types.EmptyResult()


async def _list_prompts(
    _context: Any, params: types.PaginatedRequestParams | None
) -> types.ListPromptsResult:
    _check_cursor(params)
    argument = types.PromptArgument(name="name", required=True)
    return types.ListPromptsResult(prompts=[types.Prompt(name="greet", arguments=[argument])])


async def _get_prompt(_context: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    arguments = params.arguments or {}
    if params.name != "greet" or set(arguments) != {"name"}:
        raise MCPError(types.INVALID_PARAMS, "no such prompt, or not with these arguments")
    said = types.TextContent(type="text", text=greeting(arguments["name"]))
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=said)])


async def _complete(_context: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
    known: tuple[str, ...] | None
    if isinstance(params.ref, types.PromptReference):
        known = {("greet", "name"): NAMES}.get((params.ref.name, params.argument.name))
    else:
        known = {(ITEMS_URI, "number"): tuple("123")}.get((params.ref.uri, params.argument.name))
    if known is None:
        raise MCPError(types.INVALID_PARAMS, "nothing of that name")
    values = [value for value in known if value.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


async def _set_level(_context: Any, _params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()
