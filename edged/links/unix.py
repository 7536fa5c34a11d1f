"""The Unix socket: MCP's framing for byte streams, newline-delimited JSON, one message a line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path

from edged.links.config import UnixConfig
from edged.links.lines import Pool
from edged.links.listening import Listener
from edged.links.unix_connection import Connection
from edged.mcp import jsonrpc
from edged.mcp.access import Access
from edged.mcp.catalog import Principal
from edged.mcp.server import Server


class UnixLink(Listener[UnixConfig, Connection]):
    """Serves MCP as newline-delimited JSON."""

    def __init__(
        self,
        where: Path | Iterable[socket.socket],
        server: Server,
        access: Access,
        config: UnixConfig | None = None,
    ) -> None:
        super().__init__(where, access, config or UnixConfig())
        self._server = server
        self._pool = Pool(server.limits.receive_buffers_max_bytes)

    def connect(self, sock: socket.socket, principal: Principal, tasks: asyncio.TaskGroup) -> Connection:
        """See `Listener`."""
        return Connection(
            sock,
            principal,
            server=self._server,
            config=self._config,
            pool=self._pool,
            tasks=tasks,
            gone=self.forget,
        )

    def turn_away(self, reason: str) -> bytes:
        """See `Listener`."""
        return jsonrpc.error(jsonrpc.Failure(jsonrpc.BUSY, reason)) + b"\n"
