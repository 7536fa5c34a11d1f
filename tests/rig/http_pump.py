"""Loopback TCP to a Unix socket, bytes both ways: for programs that speak HTTP over TCP alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

_CHUNK_BYTES = 1 << 16


@contextlib.asynccontextmanager
async def pumped(path: Path) -> AsyncIterator[int]:
    """The port on 127.0.0.1 that leads to the socket at `path`."""
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = group.create_task(_serve(path, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    async with asyncio.TaskGroup() as group:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tuple(connections):
                task.cancel()


async def _serve(path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there_reader, there_writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        writer.close()
        return
    async with asyncio.TaskGroup() as both:
        both.create_task(_pump(reader, there_writer, writer))
        both.create_task(_pump(there_reader, writer, there_writer))


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
) -> None:
    """Copy to the end, then close both ways: an HTTP peer that stops sending is gone."""
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
        back.close()
