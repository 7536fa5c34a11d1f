"""What the device is on a broker: its MCP, and what it tells people. Only where the config names brokers."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from typing import Final

from edged.config import Config
from edged.errors import BadConfig
from edged.links.mqtt.service import McpService
from edged.mcp.access import Access
from edged.mcp.server import Server
from edged.tasks import supervise

LOG = logging.getLogger("edged")

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
DESCRIPTION: Final = (
    "Runs machine-learning models on pictures, sounds and readings, as hard as its board can take."
)


class Network:
    """To be made on the loop; `run` serves until `close`. Raises BadConfig where the device has no usable name."""

    def __init__(self, config: Config, server: Server, access: Access) -> None:
        device = config.mqtt.id or socket.gethostname()
        try:
            self._mcp = McpService(
                server, access, config.mqtt, device=device, boot_id=boot_id(), description=DESCRIPTION
            )
        except ValueError as exc:
            raise BadConfig(f"[mqtt] id: {exc}; set one") from exc

    async def run(self) -> None:
        """Serve; at the end say goodbye."""
        async with asyncio.TaskGroup() as group:
            group.create_task(supervise("mqtt-mcp", self._mcp.run), name="mqtt-mcp")

    def close(self) -> None:
        """Let `run` end."""
        self._mcp.close()


def boot_id() -> str:
    """What tells one boot of one machine from every other."""
    return _BOOT_ID.read_text().strip()
