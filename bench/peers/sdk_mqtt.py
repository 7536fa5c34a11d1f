"""The official MCP SDK's low-level server over MQTT. `python -m bench.peers.sdk_mqtt PORT ID`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from bench.peers.mqtt_loop import Peer
from bench.peers.sdk_socket import answer_call, list_tools

Messages = anyio.streams.memory.MemoryObjectSendStream[Any]


async def serve(peer: Peer, topic: str, read: Any) -> None:
    """One client."""
    server: Server[Any] = Server("echo", on_list_tools=list_tools, on_call_tool=answer_call)
    write_in, write_out = anyio.create_memory_object_stream[SessionMessage](32)

    async def write() -> None:
        async for message in write_out:
            peer.publish(topic, message.message.model_dump_json(by_alias=True, exclude_none=True).encode())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await server.run(read, write_in, server.create_initialization_options())


async def main() -> None:
    clients: dict[str, Messages] = {}
    async with asyncio.TaskGroup() as tasks:

        def received(topic: str, payload: bytes) -> None:
            if topic not in clients:
                clients[topic], read = anyio.create_memory_object_stream[SessionMessage | Exception](64)
                tasks.create_task(serve(peer, topic, read))
            message = types.jsonrpc_message_adapter.validate_json(payload, by_name=False)
            clients[topic].send_nowait(SessionMessage(message))

        peer = Peer(int(sys.argv[1]), sys.argv[2], received)
        await peer.run()


if __name__ == "__main__":
    asyncio.run(main())
