"""A small MCP server on our own link, as a process: `python -m tests.rig.echo_server SOCKET`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import zlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edged import systemd
from edged.errors import Overloaded
from edged.links.config import UnixConfig
from edged.links.unix import UnixLink
from edged.mcp.access import Access
from edged.mcp.catalog import Annotations, Blob, Call, Catalog, Image, Method, Tier, Tool, ToolResult
from edged.mcp.config import AccessConfig, McpConfig
from edged.mcp.results import Info
from edged.mcp.server import Server

READ_ONLY = Annotations(read_only=True, idempotent=True)
PIXEL = bytes.fromhex(  # a PNG of one black pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001"
    "f61738550000000049454e44ae426082"
)


waiting = 0  # calls of `wait` that have not been cancelled


class Echo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say back."""

    text: Annotated[str, Meta(max_length=65536)]
    times: Annotated[int, Meta(ge=1, le=100)] = 1


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What was said."""

    text: str


class Bytes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes to weigh."""

    data: Blob
    note: str = ""


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """How many, and their CRC-32."""

    length: int
    total: int


class Steps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to report."""

    steps: Annotated[int, Meta(ge=0, le=1000)] = 3


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Size of what a descriptor names."""

    bytes: int


def _echo(_call: Call, arguments: Echo) -> ToolResult:
    said = Said(text=arguments.text * arguments.times)
    return ToolResult(structured=said, text=said.text)


def _weigh(_call: Call, arguments: Bytes) -> ToolResult:
    weight = Weight(length=len(arguments.data.data), total=zlib.crc32(arguments.data.data))
    return ToolResult(structured=weight, text=f"{weight.length} bytes")


async def _count(call: Call, arguments: Steps) -> ToolResult:
    for step in range(arguments.steps):
        call.progress(step + 1, arguments.steps, "counting")
        await asyncio.sleep(0)
    return ToolResult(structured=Said(text=str(arguments.steps)), text="counted")


async def _wait(_call: Call, _arguments: Nothing) -> ToolResult:
    global waiting  # noqa: PLW0603 - one process, one count
    waiting += 1
    try:
        await asyncio.Event().wait()
    finally:
        waiting -= 1
    raise AssertionError


def _waiting(_call: Call, _arguments: Nothing) -> ToolResult:
    return ToolResult(structured=Said(text=str(waiting)), text=str(waiting))


def _refuse(_call: Call, _arguments: Nothing) -> ToolResult:
    raise Overloaded("the queue is full", 0.5)


def _fail(_call: Call, _arguments: Nothing) -> ToolResult:
    raise RuntimeError("secret detail")


def _paint(_call: Call, _arguments: Nothing) -> ToolResult:
    return ToolResult(structured=Said(text="a pixel"), text="a pixel", content=(Image(PIXEL, "image/png"),))


def _measure(call: Call, _params: Nothing) -> Size:
    descriptor = call.peer.take_descriptor()
    if descriptor is None:
        return Size(bytes=-1)
    try:
        return Size(bytes=os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def catalog() -> Catalog:
    """Tools of every kind a peer can meet."""
    offered = Catalog()

    def remove(_call: Call, arguments: Echo) -> ToolResult:
        offered.tools.remove(arguments.text)
        return ToolResult(structured=Said(text=arguments.text), text="removed")

    for name, arguments, result, handler, tier in (
        ("echo", Echo, Said, _echo, Tier.READ),
        ("weigh", Bytes, Weight, _weigh, Tier.READ),
        ("count", Steps, Said, _count, Tier.READ),
        ("wait", Nothing, None, _wait, Tier.READ),
        ("waiting", Nothing, Said, _waiting, Tier.READ),
        ("refuse", Nothing, Said, _refuse, Tier.READ),
        ("fail", Nothing, Said, _fail, Tier.READ),
        ("paint", Nothing, Said, _paint, Tier.ACT),
        ("remove", Echo, Said, remove, Tier.OPERATOR),
    ):
        offered.put(
            Tool(
                name=name,
                title=name.title(),
                description=f"{name}, for tests",
                arguments=arguments,
                result=result,
                handler=handler,
                tier=tier,
                annotations=READ_ONLY,
            )
        )
    return offered


METHODS = {"test/measure": Method(params=Nothing, handler=_measure, tier=Tier.READ)}
INFO = Info(name="echo", version="1", title="Echo", instructions="Say it.")


def server(limits: McpConfig | None = None) -> Server:
    """A server with that catalog."""
    return Server(catalog(), INFO, limits, METHODS)


async def serve(path: Path) -> None:
    """Serve until SIGTERM."""
    access = Access(AccessConfig(), os.getuid())
    link = UnixLink(path, server(), access, UnixConfig())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.close)
    link.open()
    systemd.ready()
    await link.run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
