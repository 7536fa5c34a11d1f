"""What a device offers: tools with a Struct in and a JSON Schema out, and who may see and call them.

Pure. A handler gets a `Call` and its arguments, and gives a `ToolResult` or something to await for one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from edged.mcp.schema import Blob, object_schema

# MCP 2026-07-28 server/tools.mdx, "Tool Names".
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Tier(enum.IntEnum):
    """How much a principal may do; a higher tier includes the lower ones."""

    READ = 1
    ACT = 2
    OPERATOR = 3


class Principal(NamedTuple):
    """Who is on the other side: `uid:1000` on the Unix socket, `mqtt:agent-7` on a broker."""

    name: str
    groups: tuple[str, ...]
    tier: Tier


class Image(msgspec.Struct, frozen=True):
    """A picture in a result, encoded as `mime` says."""

    data: bytes
    mime: str


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answers: an object for programs, one line for people and models, pictures on request.

    `structured` matches the tool's `result` Struct unless `is_error`.
    """

    structured: msgspec.Struct | dict[str, Any]
    text: str
    images: tuple[Image, ...] = ()
    is_error: bool = False


class Peer(Protocol):
    """The connection a call came in on; hashable by identity."""

    def __hash__(self) -> int: ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, when the connection is gone."""

    def take_descriptor(self) -> int | None:
        """The oldest file descriptor received here and not yet taken; the caller closes it."""


class Call(Protocol):
    """One request, as its handler sees it. To be used on the event loop's thread only."""

    @property
    def principal(self) -> Principal:
        """Who asks."""

    @property
    def peer(self) -> Peer:
        """The connection it came in on; hashable, one object for the connection's life."""

    @property
    def trace(self) -> str | None:
        """The W3C `traceparent` the client sent."""

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the client how far the work is, if it asked; a value that does not increase is not sent."""


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """Hints to a host about what calling a tool does."""

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


Handler: TypeAlias = Callable[[Call, Any], ToolResult | Awaitable[ToolResult]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tool:
    """One tool; its schemas are made from the Structs, once."""

    name: str
    title: str
    description: str
    arguments: type[msgspec.Struct]
    handler: Handler
    tier: Tier
    result: type[msgspec.Struct] | None = None
    annotations: Annotations = field(default_factory=Annotations)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"tool name {self.name!r}: expected 1 to 128 of A-Z a-z 0-9 _ . -")

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the arguments; its root is a plain object."""
        return object_schema(self.arguments)

    @cached_property
    def output_schema(self) -> dict[str, Any] | None:
        """Likewise of the structured result, where it is declared."""
        return object_schema(self.result) if self.result else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A request of our own beside MCP's, named like `edged/mapping/register`; its result is a Struct."""

    params: type[msgspec.Struct]
    handler: Callable[[Call, Any], msgspec.Struct | Awaitable[msgspec.Struct]]
    tier: Tier


class Catalog:
    """The tools of a device, at this moment."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._watchers: list[Callable[[Tier], None]] = []

    def put(self, tool: Tool) -> None:
        """Offer a tool, in place of one of the same name."""
        before = self._tools.get(tool.name)
        self._tools[tool.name] = tool
        self._tell(min(tool.tier, before.tier) if before else tool.tier)

    def remove(self, name: str) -> None:
        """Stop offering a tool; nothing happens where there is none of that name."""
        if tool := self._tools.pop(name, None):
            self._tell(tool.tier)

    def get(self, name: str) -> Tool | None:
        """The tool of that name."""
        return self._tools.get(name)

    def visible(self, tier: Tier) -> list[Tool]:
        """What this tier may call, by name."""
        return [self._tools[name] for name in sorted(self._tools) if self._tools[name].tier <= tier]

    def on_change(self, callback: Callable[[Tier], None]) -> None:
        """Have `callback` called after each change, with the lowest tier that can see it."""
        self._watchers.append(callback)

    def _tell(self, tier: Tier) -> None:
        for callback in self._watchers:
            callback(tier)


__all__ = [
    "Annotations",
    "Blob",
    "Call",
    "Catalog",
    "Handler",
    "Image",
    "Method",
    "Peer",
    "Principal",
    "Tier",
    "Tool",
    "ToolResult",
]
