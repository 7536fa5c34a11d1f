"""Offers as a peer of a given revision finds them listed.

Pure. Fields a revision does not know are left UNSET and so stay off the wire.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from edged.mcp.contents import Hints, hints
from edged.mcp.offers import Icon, Prompt, Resource, Template, Tool
from edged.mcp.revision import Revision

Icons: TypeAlias = "list[ListedIcon] | UnsetType"


class ListedIcon(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One icon."""

    src: str
    mime_type: str | UnsetType
    sizes: tuple[str, ...] | UnsetType
    theme: str | UnsetType


class _Listed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    title: str | UnsetType
    description: str | UnsetType
    icons: Icons
    meta: dict[str, Any] | UnsetType = msgspec.field(name="_meta")


class ToolHints(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`annotations` of a listed tool."""

    title: str | UnsetType
    read_only_hint: bool
    destructive_hint: bool
    idempotent_hint: bool
    open_world_hint: bool


class ListedTool(_Listed, frozen=True, kw_only=True, rename="camel"):
    """One entry of `tools/list`."""

    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | UnsetType
    annotations: ToolHints | UnsetType


class ListedResource(_Listed, frozen=True, kw_only=True, rename="camel"):
    """One entry of `resources/list`."""

    uri: str
    mime_type: str | UnsetType
    size: int | UnsetType
    annotations: Hints | UnsetType


class ListedTemplate(_Listed, frozen=True, kw_only=True, rename="camel"):
    """One entry of `resources/templates/list`."""

    uri_template: str
    mime_type: str | UnsetType
    annotations: Hints | UnsetType


class ListedArgument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of a listed prompt."""

    name: str
    title: str | UnsetType
    description: str | UnsetType
    required: bool


class ListedPrompt(_Listed, frozen=True, kw_only=True, rename="camel"):
    """One entry of `prompts/list`."""

    arguments: list[ListedArgument] | UnsetType


def tool(offer: Tool, revision: Revision) -> ListedTool:
    """A tool as a peer of this revision sees it."""
    tips = offer.annotations
    return ListedTool(
        **_common(offer, revision),
        input_schema=offer.input_schema,
        output_schema=(offer.output_schema or UNSET) if revision.structured else UNSET,
        annotations=ToolHints(
            title=UNSET if revision.titles else offer.title,
            read_only_hint=tips.read_only,
            destructive_hint=tips.destructive,
            idempotent_hint=tips.idempotent,
            open_world_hint=tips.open_world,
        )
        if revision.annotations
        else UNSET,
    )


def resource(offer: Resource, revision: Revision) -> ListedResource:
    """A resource as a peer of this revision sees it."""
    return ListedResource(
        **_common(offer, revision),
        uri=offer.uri,
        mime_type=offer.mime or UNSET,
        size=UNSET if offer.size_bytes is None else offer.size_bytes,
        annotations=hints(offer.relevance, revision),
    )


def template(offer: Template, revision: Revision) -> ListedTemplate:
    """A template as a peer of this revision sees it."""
    return ListedTemplate(
        **_common(offer, revision),
        uri_template=offer.uri_template,
        mime_type=offer.mime or UNSET,
        annotations=hints(offer.relevance, revision),
    )


def prompt(offer: Prompt, revision: Revision) -> ListedPrompt:
    """A prompt as a peer of this revision sees it."""
    arguments = [
        ListedArgument(
            name=argument.name,
            title=argument.title if argument.title and revision.titles else UNSET,
            description=argument.description or UNSET,
            required=argument.required,
        )
        for argument in offer.arguments
    ]
    return ListedPrompt(**_common(offer, revision), arguments=arguments or UNSET)


def icons(offered: tuple[Icon, ...], revision: Revision) -> Icons:
    """Icons, for those who know them."""
    if not offered or not revision.icons:
        return UNSET
    return [
        ListedIcon(
            src=icon.src, mime_type=icon.mime or UNSET, sizes=icon.sizes or UNSET, theme=icon.theme or UNSET
        )
        for icon in offered
    ]


def _common(offer: Tool | Resource | Template | Prompt, revision: Revision) -> dict[str, Any]:
    return {
        "name": offer.name,
        "title": offer.title if offer.title and revision.titles else UNSET,
        "description": offer.description or UNSET,
        "icons": icons(offer.icons, revision),
        "meta": offer.meta if offer.meta and revision.titles else UNSET,
    }
