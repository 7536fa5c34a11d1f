"""Our server with one resource that changes ten times a second. `python -m bench.peers.ticking SOCKET`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from edged.links.config import UnixConfig
from edged.links.unix import UnixLink
from edged.mcp.access import Access
from edged.mcp.catalog import Catalog, Resource, Tier
from edged.mcp.config import AccessConfig
from edged.mcp.results import Info
from edged.mcp.server import Server

URI = "bench://tick"
CHANGES_HZ = 10
PEERS_MAX = 1_000


async def _tick(catalog: Catalog) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += 1 / CHANGES_HZ
        await asyncio.sleep(due - loop.time())
        catalog.updated(URI)


async def serve(path: Path) -> None:
    """Serve until SIGTERM."""
    catalog = Catalog()
    catalog.put(Resource(uri=URI, name="tick", read=lambda _call: "tick", tier=Tier.READ))
    link = UnixLink(
        path,
        Server(catalog, Info(name="ticking", version="1")),
        Access(AccessConfig(), os.getuid()),
        UnixConfig(peers_max=PEERS_MAX, backlog=PEERS_MAX),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.close)
    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(_tick(catalog))
        await link.run()
        ticking.cancel()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
