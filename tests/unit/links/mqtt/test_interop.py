"""The public Python and C implementations, message by message as they put them on the wire.

The bytes are ours, written after captures of both against mosquitto: the order of members, ids that start at 0 (Python)
or 1 (C), what each leaves out (user properties, `initialized`'s params, `server_name`), QoS 0, and when each
subscribes. What matters of our answers is compared whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from edged.links.mqtt.values import Publication, Subscription
from edged.mcp.server import Server
from tests.rig.echo_server import INFO, catalog
from tests.rig.mqtt_hub import Hub, Line, shipped
from tests.rig.mqtt_room import ID, NAME, TOPICS, claim, device

CONTROL = f"$mcp-server/{ID}/{NAME}"
PRESENCE = f"$mcp-server/presence/{ID}/{NAME}"
PYTHON, C = "cli-py-1", "cli-c-1"
DISCONNECTED = b'{"method":"notifications/disconnected","jsonrpc":"2.0"}'


class Wire:
    """A client that sends prepared bytes."""

    def __init__(self, hub: Hub, client_id: str, *, properties: bool) -> None:
        self.hub = hub
        self.rpc = f"$mcp-rpc/{client_id}/{ID}/{NAME}"
        self.user = claim(client_id)
        self.properties = properties
        self.line: Line = hub.connect(
            client_id,
            None,
            [Subscription(filter=f"$mcp-server/presence/+/{NAME.partition('/')[0]}/#", qos=0)],
            Publication(topic=f"$mcp-client/presence/{client_id}", payload=DISCONNECTED, qos=0),
        )

    def subscribe(self, *filters: str) -> None:
        self.line.subscriptions += tuple(Subscription(filter=f, qos=0, no_local=True) for f in filters)

    async def send(self, topic: str, payload: bytes, *, properties: bool | None = None) -> list[Publication]:
        """Send, and give what came on the RPC topic."""
        before = len(self.line.inbox)
        known = self.properties if properties is None else properties
        self.line.say(topic, payload, qos=0, user=self.user if known else ())
        await self.hub.settle()
        return [p for p in self.line.inbox[before:] if p.topic == self.rpc]


def with_a_device(test: Callable[[Hub], Awaitable[None]]) -> None:
    async def run() -> None:
        hub = Hub(shipped(ID))
        async with device(hub, Server(catalog(), INFO)):
            await test(hub)

    asyncio.run(run())


def body(publications: list[Publication]) -> Any:
    (publication,) = publications
    return json.loads(publication.payload)


def test_the_python_implementation_completes_a_session() -> None:
    async def test(hub: Hub) -> None:
        wire = Wire(hub, PYTHON, properties=True)
        await hub.settle()
        (presence,) = [p for p in wire.line.inbox if p.topic == PRESENCE]
        assert json.loads(presence.payload)["method"] == "notifications/server/online"
        wire.subscribe(f"$mcp-server/capability/{ID}/{NAME}", wire.rpc)
        answer = await wire.send(
            CONTROL,
            b'{"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
            b'"clientInfo":{"name":"mcp","version":"0.1.0"}},"jsonrpc":"2.0","id":0}',
        )
        assert answer[0].payload.startswith(
            b'{"id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{'
        )
        assert answer[0].properties.user == (
            ("MCP-COMPONENT-TYPE", "mcp-server"),
            ("MCP-MQTT-CLIENT-ID", ID),
        )
        assert answer[0].qos == 0
        initialized = b'{"method":"notifications/initialized","jsonrpc":"2.0"}'
        assert await wire.send(wire.rpc, initialized) == []
        tools = body(await wire.send(wire.rpc, b'{"method":"tools/list","jsonrpc":"2.0","id":1}'))
        assert "echo" in [tool["name"] for tool in tools["result"]["tools"]]
        call = b'{"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}},"jsonrpc":"2.0","id":2}'
        assert body(await wire.send(wire.rpc, call)) == {
            "jsonrpc": "2.0",
            "id": 2,
            "result": {
                "content": [{"type": "text", "text": "hi"}],
                "structuredContent": {"text": "hi"},
                "isError": False,
            },
        }
        assert body(await wire.send(wire.rpc, b'{"method":"ping","jsonrpc":"2.0","id":3}'))["result"] == {}
        assert await wire.send(f"$mcp-client/presence/{PYTHON}", DISCONNECTED) == []

    with_a_device(test)


def test_the_c_implementation_completes_a_session_without_waiting_for_suback_or_sending_properties() -> None:
    async def test(hub: Hub) -> None:
        wire = Wire(hub, C, properties=False)
        wire.subscribe(f"$mcp-server/capability/{ID}/{NAME}", wire.rpc)
        answer = await wire.send(
            CONTROL,
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05",'
            b'"capabilities":{"roots":{"listChanged":true},"sampling":{}},'
            b'"clientInfo":{"name":"paho_mcp_client","version":"1.0.0"}}}',
            properties=True,
        )
        assert body(answer)["result"]["protocolVersion"] == "2024-11-05"
        assert await wire.send(wire.rpc, b'{"jsonrpc":"2.0","method":"notifications/initialized"}') == []
        tools = body(await wire.send(wire.rpc, b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}'))
        assert {"name", "description", "inputSchema"} <= set(tools["result"]["tools"][0])
        call = b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}'
        content = body(await wire.send(wire.rpc, call))["result"]["content"]
        assert content[0] == {"type": "text", "text": "hi"}
        gone = b'{"jsonrpc":"2.0","method":"notifications/disconnected"}'
        assert await wire.send(wire.rpc, gone) == []

    with_a_device(test)


def test_a_bridge_with_string_ids_and_only_the_rpc_topic_is_served() -> None:
    async def test(hub: Hub) -> None:
        wire = Wire(hub, "bridge", properties=False)
        wire.subscribe(wire.rpc)
        started = await wire.send(
            wire.rpc,
            b'{"jsonrpc":"2.0","id":"b-0","method":"initialize","params":{"protocolVersion":"2025-06-18",'
            b'"capabilities":{},"clientInfo":{"name":"bridge","version":"1"}}}',
        )
        assert body(started)["id"] == "b-0"
        tools = await wire.send(wire.rpc, b'{"jsonrpc":"2.0","id":"b-1","method":"tools/list"}')
        assert body(tools)["id"] == "b-1"

    with_a_device(test)


def test_presence_is_what_clients_of_every_implementation_look_for() -> None:
    async def test(hub: Hub) -> None:
        presence = hub.retained[PRESENCE]
        said = json.loads(presence.payload)
        assert (said["jsonrpc"], said["method"]) == ("2.0", "notifications/server/online")
        assert said["params"]["server_name"] == NAME  # the TypeScript client requires it
        assert isinstance(said["params"]["description"], str)
        assert isinstance(said["params"]["meta"], dict)
        assert TOPICS.presence == PRESENCE

    with_a_device(test)
