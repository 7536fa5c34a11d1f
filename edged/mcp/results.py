"""The shapes of results, by revision.

Pure. Fields a revision does not know are left UNSET and so stay off the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.mcp.content import Embedded, PromptMessage, Text, ToolResult
from edged.mcp.contents import Block, Contents, TextBlock, block, contents
from edged.mcp.listed import ListedIcon, icons
from edged.mcp.offers import Body, Icon, Messages, Resource, Template
from edged.mcp.revision import Revision

SUGGESTIONS_MAX = 100  # 2026-07-28 server/utilities/completion.mdx, "Completion Results"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself."""

    name: str
    version: str
    title: str = ""
    description: str = ""
    instructions: str = ""
    website: str = ""
    icons: tuple[Icon, ...] = ()


class _Stamped(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What every result of the stateless era carries."""

    result_type: Literal["complete"] | UnsetType = UNSET
    meta: Raw | UnsetType = msgspec.field(default=UNSET, name="_meta")


class CallResult(_Stamped, frozen=True, kw_only=True, rename="camel"):
    """Result of `tools/call`."""

    content: list[Block]
    structured_content: Any = UNSET
    is_error: bool = False


class _Cacheable(_Stamped, frozen=True, kw_only=True, rename="camel"):
    ttl_ms: int | UnsetType = UNSET
    cache_scope: Literal["public", "private"] | UnsetType = UNSET


class Page(_Cacheable, frozen=True, kw_only=True, rename="camel"):
    """Result of a listing method: one of the four lists."""

    tools: list[Any] | UnsetType = UNSET
    resources: list[Any] | UnsetType = UNSET
    resource_templates: list[Any] | UnsetType = UNSET
    prompts: list[Any] | UnsetType = UNSET
    next_cursor: str | UnsetType = UNSET


class Discovered(_Cacheable, frozen=True, kw_only=True, rename="camel"):
    """Result of `server/discover`."""

    supported_versions: tuple[str, ...]
    capabilities: dict[str, Any]
    instructions: str | UnsetType = UNSET


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`serverInfo`, in both eras."""

    name: str
    version: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    website_url: str | UnsetType = UNSET
    icons: list[ListedIcon] | UnsetType = UNSET


class Initialized(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Result of `initialize`."""

    protocol_version: str
    capabilities: dict[str, Any]
    server_info: ServerInfo
    instructions: str | UnsetType = UNSET


class Empty(_Stamped, frozen=True, kw_only=True):
    """A result that says no more than that it is one."""


class ReadResult(_Cacheable, frozen=True, kw_only=True, rename="camel"):
    """Result of `resources/read`."""

    contents: list[Contents]


class Turn(msgspec.Struct, frozen=True):
    """One message of a prompt."""

    role: str
    content: Block


class PromptResult(_Stamped, frozen=True, kw_only=True):
    """Result of `prompts/get`."""

    messages: list[Turn]
    description: str | UnsetType = UNSET


class Completion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Suggestions: the best of them, and how many there are."""

    values: list[str]
    total: int
    has_more: bool


class CompletionResult(_Stamped, frozen=True, kw_only=True):
    """Result of `completion/complete`."""

    completion: Completion


class InputRequiredResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """In place of a result: what the client is to find out before it comes back."""

    input_requests: Mapping[str, Any]
    request_state: str
    result_type: Literal["input_required"] = "input_required"
    meta: Raw | UnsetType = msgspec.field(default=UNSET, name="_meta")


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


def read_result(
    body: Body, uri: str, offer: Resource | Template, revision: Revision, stamp: Raw, *, answered: bool
) -> ReadResult:
    """What a resource holds; what came of answers is nobody else's, and stale at once."""
    parts = [Embedded(uri, body)] if isinstance(body, (str, bytes)) else body
    return ReadResult(
        contents=[contents(part, revision, offer.mime) for part in parts],
        ttl_ms=(0 if answered else offer.ttl_ms) if revision.stateless else UNSET,
        cache_scope=("public" if offer.public and not answered else "private")
        if revision.stateless
        else UNSET,
        result_type="complete" if revision.stateless else UNSET,
        meta=stamp if revision.stateless else UNSET,
    )


def prompt_result(said: Messages, description: str, revision: Revision, stamp: Raw) -> PromptResult:
    """What a prompt says."""
    messages = [PromptMessage("user", Text(said))] if isinstance(said, str) else said
    return PromptResult(
        messages=[Turn(message.role, block(message.content, revision)) for message in messages],
        description=description or UNSET,
        result_type="complete" if revision.stateless else UNSET,
        meta=stamp if revision.stateless else UNSET,
    )


def completion_result(values: list[str], revision: Revision, stamp: Raw) -> CompletionResult:
    """The first suggestions, as many as one answer may hold."""
    completion = Completion(
        values=values[:SUGGESTIONS_MAX], total=len(values), has_more=len(values) > SUGGESTIONS_MAX
    )
    return CompletionResult(
        completion=completion,
        result_type="complete" if revision.stateless else UNSET,
        meta=stamp if revision.stateless else UNSET,
    )


def server_info(info: Info, revision: Revision) -> ServerInfo:
    """The server's name as a peer of this revision sees it."""
    return ServerInfo(
        name=info.name,
        version=info.version,
        title=info.title if revision.titles and info.title else UNSET,
        description=info.description if revision.icons and info.description else UNSET,
        website_url=info.website if revision.icons and info.website else UNSET,
        icons=icons(info.icons, revision),
    )
