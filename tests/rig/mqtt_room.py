"""A device's MCP link and its clients on a broker in memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import cbor2

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp.link import McpLink
from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.values import Properties, Publication, Subscription
from edged.mcp.access import Access
from edged.mcp.config import AccessConfig
from edged.mcp.server import Server
from tests.rig.desk import envelope
from tests.rig.mqtt_hub import Hub, Line

ID, NAME = "cam1", "edged/vision"
TOPICS = Topics(ID, NAME)
TIERS = AccessConfig(principals={"mqtt:agent": "act", "mqtt:boss": "operator"})


@contextlib.asynccontextmanager
async def device(
    hub: Hub,
    server: Server,
    *,
    boot: str = "boot-a",
    config: MqttConfig | None = None,
    access: AccessConfig = TIERS,
) -> AsyncIterator[tuple[McpLink, Line]]:
    """A link that runs and is connected."""
    link = McpLink(
        server, Access(access, 0), config or MqttConfig(), TOPICS, boot_id=boot, description="A camera"
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        await asyncio.sleep(0)
        line = join(hub, link, boot)
        await hub.settle()
        try:
            yield link, line
        finally:
            await link.withdraw()
            link.close()


def join(hub: Hub, link: McpLink, boot: str) -> Line:
    """Connect the link, as the connection does: subscribed first, then told."""
    line = hub.connect(f"{ID}-{boot}", None, link.subscriptions, link.will)
    line._handler = link
    link.publisher = line
    link.connected(line.terms_)
    return line


class Client:
    """An MCP client with nothing but topics."""

    def __init__(self, hub: Hub, client_id: str, *, topics: Topics = TOPICS, **properties: Any) -> None:
        self.hub = hub
        self.id = client_id
        self.rpc = topics.rpc(client_id)
        self.topics = topics
        self.properties = properties
        self.ids = itertools.count()
        self.line = hub.connect(
            client_id,
            None,
            [
                Subscription(filter=self.rpc, no_local=True),
                Subscription(filter=topics.capability),
                Subscription(filter=topics.presence),
            ],
            Publication(
                topic=f"$mcp-client/presence/{client_id}",
                payload=b'{"jsonrpc":"2.0","method":"notifications/disconnected"}',
            ),
        )

    async def tell(self, message: object, topic: str | None = None, **properties: Any) -> list[Any]:
        """Send a message; give what came back on the RPC topic because of it."""
        before = len(self.line.inbox)
        self.line.say(topic or self.rpc, message, **{**self.properties, **properties})
        await self.hub.settle()
        return [decoded(p) for p in self.line.inbox[before:] if p.topic == self.rpc]

    async def ask(self, method: str, params: dict[str, Any] | None = None, **properties: Any) -> Any:
        """A request as it stands; the one answer."""
        request_id = next(self.ids)
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}
        (answer,) = [m for m in await self.tell(message, **properties) if m.get("id") == request_id]
        return answer

    async def ask_modern(self, method: str, params: dict[str, Any] | None = None, **properties: Any) -> Any:
        """A request of the stateless era; the one answer."""
        return await self.ask(method, {**(params or {}), "_meta": envelope()}, **properties)

    async def call(self, name: str, arguments: dict[str, Any] | None = None, **properties: Any) -> Any:
        """The result of a tool."""
        answer = await self.ask_modern(
            "tools/call", {"name": name, "arguments": arguments or {}}, **properties
        )
        return answer["result"]

    async def shake_hands(self, version: str = "2025-11-25") -> Any:
        """Agree on a revision of the handshake era, by the control topic."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
        answer = await self.ask("initialize", params, topic=self.topics.control, user=claim(self.id))
        await self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer["result"]

    def heard(self, topic: str) -> list[Any]:
        """What came on another topic."""
        return [decoded(p) for p in self.line.inbox if p.topic == topic]


def claim(client_id: str) -> tuple[tuple[str, str], ...]:
    """The user properties the specification has clients send."""
    return (("MCP-COMPONENT-TYPE", "mcp-client"), ("MCP-MQTT-CLIENT-ID", client_id))


def decoded(publication: Publication) -> Any:
    """A payload by its Content Type."""
    if publication.properties.content_type == "application/cbor":
        return cbor2.loads(publication.payload)
    return json.loads(publication.payload) if publication.payload else None


PLAIN = Properties()
