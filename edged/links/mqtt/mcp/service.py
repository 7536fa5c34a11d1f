"""MCP on MQTT as one service: the link, its connection, and the order they start and end in."""

from __future__ import annotations

import asyncio

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection, client_id
from edged.links.mqtt.mcp.link import McpLink
from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.secrets import Secrets
from edged.links.mqtt.tls import Tls
from edged.mcp.access import Access
from edged.mcp.server import Server


class McpService:
    """To be made on its loop; `run` serves until `close`, then says goodbye. See `McpLink` for the arguments.

    Raises ValueError where `device` or the config's name can be no part of a topic.
    """

    def __init__(
        self,
        server: Server,
        access: Access,
        config: MqttConfig,
        *,
        device: str,
        boot_id: str,
        description: str = "",
        tls: Tls | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        topics = Topics(device, config.name, config.prefix)
        self.link = McpLink(server, access, config, topics, boot_id=boot_id, description=description)
        self.connection = Connection(
            config,
            client_id(config.client_id, device),
            self.link,
            will=self.link.will,
            user=self.link.user,
            subscriptions=self.link.subscriptions,
            tls=tls,
            secrets=secrets,
        )
        self.link.publisher = self.connection
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve; at the end what runs may finish, within the config's grace."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(), name="mqtt-mcp")
            connecting = tasks.create_task(self.connection.run(), name="mqtt-mcp-connection")
            try:
                await self._stopping.wait()
                await self.link.withdraw()
            finally:
                connecting.cancel()
                self.link.close()

    def close(self) -> None:
        """Let `run` end."""
        self._stopping.set()
