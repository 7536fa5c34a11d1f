"""The echo server's tools as a device on a broker, on a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.service import McpService
from edged.mcp.access import Access
from edged.mcp.config import AccessConfig
from edged.mcp.server import Server
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.mqtt import until


@contextlib.contextmanager
def serving(config: MqttConfig, device: str, access: AccessConfig | None = None) -> Iterator[None]:
    """Be there, with the access rules tried, until the end of the block."""
    there, over = threading.Event(), threading.Event()
    ending: list[BaseException] = []

    async def serve() -> None:
        server = Server(catalog(), INFO, None, METHODS)
        service = McpService(
            server, Access(access or AccessConfig(), 0), config, device=device, boot_id=f"boot-{id(server)}"
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.run())
            await until(
                lambda: service.link.status.access != "unproven" and service.link.status.identity == "serving"
            )
            there.set()
            await until(over.is_set, patience_s=600)
            service.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:  # noqa: BLE001 - raised again below
            ending.append(exc)
            there.set()

    thread = threading.Thread(target=run, name="device")
    thread.start()
    try:
        there.wait()
        if ending:
            raise ending[0]
        yield
    finally:
        over.set()
        thread.join()
