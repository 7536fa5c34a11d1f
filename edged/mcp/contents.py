"""Content as a peer of a given revision sees it.

Pure. What a revision does not know is carried by something it does: audio as an embedded resource, a link as text.
Source: schema/<revision>/schema.json, ContentBlock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec
import pybase64
from msgspec import UNSET, Raw, UnsetType

from edged.mcp.content import Audio, Content, Embedded, Image, Link, Relevance, Text
from edged.mcp.revision import Revision


class Hints(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`annotations` of content and resources."""

    audience: tuple[str, ...] | UnsetType
    priority: float | UnsetType
    last_modified: str | UnsetType


class TextBlock(msgspec.Struct, frozen=True, gc=False):
    """Text content."""

    text: str
    type: Literal["text"] = "text"
    annotations: Hints | UnsetType = UNSET


class MediaBlock(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Image or audio content; `data` is a JSON string already."""

    data: Raw
    mime_type: str
    type: Literal["image", "audio"]
    annotations: Hints | UnsetType = UNSET


class Contents(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One part of what a resource holds; `blob` is a JSON string already."""

    uri: str
    mime_type: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    blob: Raw | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="_meta")


class ResourceBlock(msgspec.Struct, frozen=True):
    """An embedded resource."""

    resource: Contents
    type: Literal["resource"] = "resource"
    annotations: Hints | UnsetType = UNSET


class LinkBlock(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A link to a resource."""

    uri: str
    name: str
    title: str | UnsetType
    description: str | UnsetType
    mime_type: str | UnsetType
    size: int | UnsetType
    annotations: Hints | UnsetType
    type: Literal["resource_link"] = "resource_link"


Block: TypeAlias = TextBlock | MediaBlock | ResourceBlock | LinkBlock


def block(content: Content, revision: Revision) -> Block:
    """One block of content."""
    return _BLOCKS[type(content)](content, revision)


def hints(relevance: Relevance | None, revision: Revision) -> Hints | UnsetType:
    """`annotations` of content or of a resource."""
    if relevance is None:
        return UNSET
    return Hints(
        audience=relevance.audience or UNSET,
        priority=UNSET if relevance.priority is None else relevance.priority,
        last_modified=relevance.modified if relevance.modified and revision.titles else UNSET,
    )


def contents(part: Embedded, revision: Revision, mime: str = "") -> Contents:
    """One part of what a resource holds; `mime` where it names none itself."""
    return Contents(
        uri=part.uri,
        mime_type=part.mime or mime or UNSET,
        text=part.data if isinstance(part.data, str) else UNSET,
        blob=base64(part.data) if isinstance(part.data, bytes) else UNSET,
        meta=part.meta if part.meta and revision.titles else UNSET,
    )


def base64(data: bytes) -> Raw:
    """The bytes as a JSON string."""
    return Raw(b'"' + pybase64.b64encode(data) + b'"')


def _text(content: Text, revision: Revision) -> Block:
    return TextBlock(content.text, annotations=hints(content.relevance, revision))


def _image(content: Image, revision: Revision) -> Block:
    annotations = hints(content.relevance, revision)
    return MediaBlock(base64(content.data), content.mime, "image", annotations)


def _audio(content: Audio, revision: Revision) -> Block:
    if not revision.audio:
        return _embedded(Embedded("urn:mcp:audio", content.data, content.mime, content.relevance), revision)
    annotations = hints(content.relevance, revision)
    return MediaBlock(base64(content.data), content.mime, "audio", annotations)


def _embedded(content: Embedded, revision: Revision) -> Block:
    return ResourceBlock(contents(content, revision), annotations=hints(content.relevance, revision))


def _link(content: Link, revision: Revision) -> Block:
    if not revision.links:
        said = f"{content.title or content.name}: {content.uri}"
        said = f"{said} ({content.description})" if content.description else said
        return TextBlock(said, annotations=hints(content.relevance, revision))
    return LinkBlock(
        uri=content.uri,
        name=content.name,
        title=content.title or UNSET,
        description=content.description or UNSET,
        mime_type=content.mime or UNSET,
        size=UNSET if content.size_bytes is None else content.size_bytes,
        annotations=hints(content.relevance, revision),
    )


_BLOCKS: Final[dict[type, Callable[[Any, Revision], Block]]] = {
    Text: _text,
    Image: _image,
    Audio: _audio,
    Embedded: _embedded,
    Link: _link,
}
