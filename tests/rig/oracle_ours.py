"""Our dispatcher and session, told line by line in this process: what the oracle is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edged.mcp.catalog import Principal, Tier
from edged.mcp.server import Server
from edged.mcp.session import Session
from tests.rig.echo_server import INFO
from tests.rig.oracle_offers import offered
from tests.rig.oracle_quiet import quiet


class Ours:
    """One connection, and the wire of its session."""

    def __init__(self, server: Server, tasks: asyncio.TaskGroup) -> None:
        self.congested = False
        self._said: list[bytes] = []
        self.session = Session(server, Principal("uid:1000", (), Tier.OPERATOR), self, tasks)

    async def tell(self, line: bytes) -> list[bytes]:
        """Send a line; give what was said once nothing in this process runs any more."""
        if line.strip():
            self.session.receive(line)
        await quiet()
        said, self._said = self._said, []
        return said

    def write(self, message: bytes) -> None:
        """See `session.Wire`."""
        self._said.append(message)

    def write_from_thread(self, message: bytes) -> None:
        """See `session.Wire`."""
        self.write(message)

    def take_descriptor(self) -> int | None:
        """See `session.Wire`."""
        return None

    def settled(self) -> None:
        """See `session.Wire`."""


@asynccontextmanager
async def connected() -> AsyncIterator[Ours]:
    """A connection of its own to a server of its own."""
    async with asyncio.TaskGroup() as tasks:
        ours = Ours(Server(offered(), INFO), tasks)
        try:
            yield ours
        finally:
            ours.session.close()
