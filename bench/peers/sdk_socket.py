"""The official MCP SDK's low-level server, one line a message. `python -m bench.peers.sdk_socket SOCKET`."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import anyio.abc
import anyio.streams.buffered
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

LINE_BYTES = 8 << 20
ECHO = types.Tool(
    name="echo",
    description="Answer with the text.",
    input_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)


async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[ECHO])


async def answer_call(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    text = str((params.arguments or {})["text"])
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content={"text": text}
    )


async def serve(stream: anyio.abc.SocketStream) -> None:
    """One connection, until the client hangs up."""
    server: Server[Any] = Server("echo", on_list_tools=list_tools, on_call_tool=answer_call)
    read_in, read_out = anyio.create_memory_object_stream[SessionMessage | Exception](32)
    write_in, write_out = anyio.create_memory_object_stream[SessionMessage](32)

    async def read() -> None:
        lines = anyio.streams.buffered.BufferedByteReceiveStream(stream)
        async with read_in:
            try:
                while True:
                    text = await lines.receive_until(b"\n", LINE_BYTES)
                    message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
                    await read_in.send(SessionMessage(message))
            except anyio.IncompleteRead:
                return

    async def write() -> None:
        async for message in write_out:
            text = message.message.model_dump_json(by_alias=True, exclude_none=True)
            await stream.send(text.encode() + b"\n")

    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        await server.run(read_out, write_in, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def main() -> None:
    listener = await anyio.create_unix_listener(sys.argv[1])
    async with listener:
        await listener.serve(serve)


if __name__ == "__main__":
    anyio.run(main)
