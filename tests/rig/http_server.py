"""The echo server over HTTP, as a process: `python -m tests.rig.http_server SOCKET [SETTING=JSON...]`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import msgspec

from edged import systemd
from edged.links.config import HttpConfig
from edged.links.http import HttpLink
from edged.mcp.access import Access
from edged.mcp.config import AccessConfig, McpConfig
from tests.rig import echo_server


async def serve(path: Path, settings: dict[str, object]) -> None:
    """Serve until SIGTERM."""
    config = msgspec.convert({**settings, "enabled": True}, HttpConfig)
    offered = echo_server.server(McpConfig(line_max_bytes=1 << 20, write_buffer_max_bytes=1 << 18))
    link = HttpLink(path, offered, Access(AccessConfig(), os.getuid()), config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.close)
    link.open()
    systemd.ready()
    await link.run()


if __name__ == "__main__":
    given = (argument.partition("=") for argument in sys.argv[2:])
    asyncio.run(serve(Path(sys.argv[1]), {key: json.loads(value) for key, _, value in given}))
