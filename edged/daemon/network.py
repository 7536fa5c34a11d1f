"""What the device is on a broker: its MCP, and what it tells people. Only where the config names brokers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from edged.config import Config
from edged.errors import BadConfig
from edged.limits import Limits
from edged.links.mqtt.address import Address
from edged.links.mqtt.mcp.service import McpService
from edged.links.mqtt.people.management import Management
from edged.links.mqtt.people.state import State
from edged.links.mqtt.people.vitals import ROOT
from edged.links.mqtt.secrets import Secrets
from edged.links.mqtt.sharing import Sender
from edged.links.mqtt.tls import Tls
from edged.links.spool.service import Spool
from edged.links.spool.status import OK
from edged.links.spool.values import Kind, Record, Sealer
from edged.mcp.access import Access
from edged.mcp.server import Server
from edged.tasks import Latest, OneThread, supervise
from edged.tools.documents import NetworkDocument
from edged.tools.network import network_document
from edged.tools.telemetry import Sources, Telemetry, identify

DESCRIPTION: Final = (
    "Runs machine-learning models on pictures, sounds and readings, as hard as its board can take."
)


class Held(NamedTuple):
    """What the device's keys give to its connections, each None where there are none."""

    tls: Tls | None = None
    secrets: Secrets | None = None
    sealer: Sealer | None = None


class Published:
    """Where signed checkpoints of the audit log leave."""

    def __init__(self, spool: Spool, topic: str) -> None:
        self._spool, self._topic = spool, topic

    async def put(self, checkpoint_id: str, signed: bytes) -> None:
        """Raises StorageError."""
        await self._spool.put(
            Record(
                id=checkpoint_id,
                kind=Kind.AUDIT,
                topic=self._topic,
                payload=signed,
                content_type="application/cose",
            )
        )


class Network:
    """To be made on the loop; `run` serves until `close`. Raises BadConfig where the device has no usable name.

    `sources` is what telemetry asks of the other rooms.
    """

    def __init__(
        self,
        config: Config,
        server: Server,
        access: Access,
        limits: Latest[Limits],
        sources: Sources,
        wall_s: Callable[[], float],
        held: Held,
    ) -> None:
        mqtt = config.mqtt
        self._brokers = [Address.parse(url).url for url in mqtt.brokers]
        device = mqtt.id or socket.gethostname()
        me = identify(device)
        try:
            self._mcp = McpService(
                server,
                access,
                mqtt,
                device=device,
                boot_id=me.boot_id,
                description=DESCRIPTION,
                tls=held.tls,
                secrets=held.secrets,
            )
        except ValueError as exc:
            raise BadConfig(f"[mqtt] id: {exc}; set one") from exc
        self._thread = OneThread("spool")
        sender = Sender()
        path = Path(config.paths.state) / "spool.db"
        self._spool = Spool(path, mqtt.spool, device, sender, self._thread, wall_s, held.sealer)
        sources = replace(sources, evicted=self._evicted, spool_error=self._spool_error, twin=self._twin)
        telemetry = Telemetry(me, sources, mqtt.state.mute)
        self.state = State(mqtt.state, me, telemetry, limits, sender.publish, self._spool)
        self._spool.on_trouble(self.state.nudge)
        self._management = Management(
            mqtt,
            device,
            self.state,
            sender,
            beside=[self._spool],
            subscriptions=self._spool.subscriptions(),
            tls=held.tls,
            secrets=held.secrets,
        )
        self.checkpoints = Published(self._spool, f"{ROOT}/{device}/up/audit")
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve; at the end store what is to be told, and say goodbye."""
        try:
            async with asyncio.TaskGroup() as group:
                draining = group.create_task(supervise("spool", self._spool.run), name="spool")
                group.create_task(supervise("mqtt-mcp", self._mcp.run), name="mqtt-mcp")
                telling = group.create_task(supervise("mqtt-management", self._management.run))
                await self._stopping.wait()
                self._mcp.close()
                self._management.close()
                await telling
                draining.cancel()
            await self._spool.close()
        finally:
            self._thread.close()

    def close(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    def document(self) -> NetworkDocument:
        """How it all is."""
        connections = {
            "mcp": self._mcp.connection.health,
            "management": self._management.connection.health,
        }
        return network_document(self._brokers, connections, self._mcp.link.status, self._spool.status())

    def _evicted(self) -> int:
        return sum(self._spool.status().lost.values())

    def _spool_error(self) -> str | None:
        disk = self._spool.status().disk
        return None if disk == OK else disk

    def _twin(self) -> str | None:
        return self.state.twin()
