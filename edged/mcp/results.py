"""The shapes of results, by revision.

Pure. Fields a revision does not know are left UNSET and so stay off the wire.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.mcp.content import ToolResult
from edged.mcp.contents import Block, TextBlock, block
from edged.mcp.offers import Tool
from edged.mcp.revision import Revision


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself."""

    name: str
    version: str
    title: str = ""
    instructions: str = ""


class _Stamped(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What every result of the stateless era carries."""

    result_type: Literal["complete"] | UnsetType = UNSET
    meta: Raw | UnsetType = msgspec.field(default=UNSET, name="_meta")


class CallResult(_Stamped, frozen=True, kw_only=True, rename="camel"):
    """Result of `tools/call`."""

    content: list[Block]
    structured_content: Any = UNSET
    is_error: bool = False


class ToolHints(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`annotations` of a listed tool."""

    title: str | UnsetType
    read_only_hint: bool
    destructive_hint: bool
    idempotent_hint: bool
    open_world_hint: bool


class ListedTool(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of `tools/list`."""

    name: str
    description: str
    input_schema: dict[str, Any]
    title: str | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    annotations: ToolHints | UnsetType = UNSET


class _Cacheable(_Stamped, frozen=True, kw_only=True, rename="camel"):
    ttl_ms: int | UnsetType = UNSET
    cache_scope: Literal["public", "private"] | UnsetType = UNSET


class ToolPage(_Cacheable, frozen=True, kw_only=True, rename="camel"):
    """Result of `tools/list`."""

    tools: list[ListedTool]
    next_cursor: str | UnsetType = UNSET


class Discovered(_Cacheable, frozen=True, kw_only=True, rename="camel"):
    """Result of `server/discover`."""

    supported_versions: tuple[str, ...]
    capabilities: dict[str, Any]
    instructions: str | UnsetType = UNSET


class ServerInfo(msgspec.Struct, frozen=True):
    """`serverInfo`, in both eras."""

    name: str
    version: str
    title: str | UnsetType = UNSET


class Initialized(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Result of `initialize`."""

    protocol_version: str
    capabilities: dict[str, Any]
    server_info: ServerInfo
    instructions: str | UnsetType = UNSET


class Empty(_Stamped, frozen=True, kw_only=True):
    """A result that says no more than that it is one."""


def call_result(result: ToolResult, revision: Revision, stamp: Raw) -> CallResult:
    """What a peer of this revision gets; where it knows no structured content, that follows as text."""
    content: list[Block] = [TextBlock(result.text)] if result.text else []
    if result.structured is not None and not revision.structured:
        content.append(TextBlock(msgspec.json.encode(result.structured).decode()))
    if result.content:
        content += [block(item, revision) for item in result.content]
    return CallResult(
        content=content,
        structured_content=result.structured
        if revision.structured and result.structured is not None
        else UNSET,
        is_error=result.is_error,
        result_type="complete" if revision.stateless else UNSET,
        meta=stamp if revision.stateless else UNSET,
    )


def listed(tool: Tool, revision: Revision) -> ListedTool:
    """A tool as a peer of this revision sees it."""
    hints = tool.annotations
    return ListedTool(
        name=tool.name,
        title=tool.title if revision.titles else UNSET,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=(tool.output_schema or UNSET) if revision.structured else UNSET,
        annotations=ToolHints(
            title=UNSET if revision.titles else tool.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        )
        if revision.annotations
        else UNSET,
    )


def server_info(info: Info, revision: Revision) -> ServerInfo:
    """The server's name as a peer of this revision sees it."""
    return ServerInfo(info.name, info.version, info.title if revision.titles and info.title else UNSET)
