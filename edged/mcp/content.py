"""What results, prompts and resources are made of.

Pure. Every kind exists in the newest revision; `contents` says what a peer of an older one gets instead.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec


class Relevance(msgspec.Struct, frozen=True, kw_only=True):
    """Whom content or a resource is for, how much it matters, and when it last changed."""

    audience: tuple[Literal["user", "assistant"], ...] = ()
    priority: float | None = None
    """0 (may be left out) to 1 (required)."""
    modified: str | None = None
    """ISO 8601."""


class Text(msgspec.Struct, frozen=True):
    """Words."""

    text: str
    relevance: Relevance | None = None


class Image(msgspec.Struct, frozen=True):
    """A picture, encoded as `mime` says."""

    data: bytes
    mime: str
    relevance: Relevance | None = None


class Audio(msgspec.Struct, frozen=True):
    """A recording, encoded as `mime` says."""

    data: bytes
    mime: str
    relevance: Relevance | None = None


class Embedded(msgspec.Struct, frozen=True):
    """A resource with what it holds; where `mime` is empty, the resource's own counts."""

    uri: str
    data: str | bytes
    mime: str = ""
    relevance: Relevance | None = None
    meta: dict[str, Any] | None = None


class Link(msgspec.Struct, frozen=True):
    """A resource to be read on demand: prefer it to bulk."""

    uri: str
    name: str
    title: str = ""
    description: str = ""
    mime: str = ""
    size_bytes: int | None = None
    relevance: Relevance | None = None


Content: TypeAlias = Text | Image | Audio | Embedded | Link


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answers: an object for programs, one line for people and models, more content on request.

    `structured` matches the tool's `result` Struct unless `is_error`; an empty `text` is left out.
    """

    structured: msgspec.Struct | dict[str, Any] | None
    text: str
    content: tuple[Content, ...] = ()
    is_error: bool = False


class PromptMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation that a prompt begins."""

    role: Literal["user", "assistant"]
    content: Content
