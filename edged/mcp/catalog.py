"""What a device offers at this moment: tools, resources, templates of resources, and prompts.

Pure. This is the door for whoever offers something: the kinds themselves are in `offers`, `content` and `asking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from edged.mcp.asking import Form, InputRequired, Question, Reply, Roots, Sample, Visit
from edged.mcp.content import (
    Audio,
    Content,
    Embedded,
    Image,
    Link,
    PromptMessage,
    Relevance,
    Text,
    ToolResult,
)
from edged.mcp.offers import (
    Annotations,
    Argument,
    Body,
    Call,
    Completer,
    Icon,
    Job,
    LogLevel,
    Messages,
    Method,
    Peer,
    Principal,
    Prompt,
    Resource,
    Template,
    Tier,
    Tool,
    ToolHandler,
    Work,
    among,
)
from edged.mcp.schema import Blob

Kind: TypeAlias = Literal["tools", "resources", "prompts"]
"""A list that clients keep; templates are on the list of resources."""


class _Offer(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def tier(self) -> Tier: ...


T = TypeVar("T", bound=_Offer)


class Shelf(Generic[T]):
    """The offers of one kind."""

    def __init__(self, tell: Callable[[Tier], None]) -> None:
        self._offers: dict[str, T] = {}
        self._tell = tell

    def put(self, offer: T) -> None:
        """Offer this, in place of one of the same key."""
        before = self._offers.get(offer.key)
        self._offers[offer.key] = offer
        self._tell(min(offer.tier, before.tier) if before else offer.tier)

    def remove(self, key: str) -> None:
        """Stop offering it; nothing happens where there is none of that key."""
        if offer := self._offers.pop(key, None):
            self._tell(offer.tier)

    def get(self, key: str) -> T | None:
        """The offer of that key."""
        return self._offers.get(key)

    def visible(self, tier: Tier) -> list[T]:
        """What this tier may use, by key."""
        return [self._offers[key] for key in sorted(self._offers) if self._offers[key].tier <= tier]


class Catalog:
    """The offers of a device, one shelf a kind; for the event loop's thread."""

    def __init__(self) -> None:
        self._watchers: list[Callable[[Kind, Tier], None]] = []
        self._readers: list[Callable[[str], None]] = []
        self._makers: list[Callable[[str, bool], None]] = []
        self.tools: Shelf[Tool] = Shelf(lambda tier: self._tell("tools", tier))
        self.resources: Shelf[Resource] = Shelf(lambda tier: self._tell("resources", tier))
        self.templates: Shelf[Template] = Shelf(lambda tier: self._tell("resources", tier))
        self.prompts: Shelf[Prompt] = Shelf(lambda tier: self._tell("prompts", tier))

    def put(self, *offers: Tool | Resource | Template | Prompt) -> None:
        """Put each offer on its shelf."""
        for offer in offers:
            match offer:
                case Tool():
                    self.tools.put(offer)
                case Resource():
                    self.resources.put(offer)
                case Template():
                    self.templates.put(offer)
                case Prompt():
                    self.prompts.put(offer)

    def updated(self, uri: str) -> None:
        """Tell whoever subscribed that what this resource holds has changed; cheap where nobody did."""
        for callback in self._readers:
            callback(uri)

    def on_change(self, callback: Callable[[Kind, Tier], None]) -> None:
        """Have `callback` called after each change of a list, with the lowest tier that can see it."""
        self._watchers.append(callback)

    def on_update(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with each URI that is `updated`."""
        self._readers.append(callback)

    def watched(self, uri: str, by_anybody: bool) -> None:  # noqa: FBT001 - the shape of a callback
        """Note that a resource has its first subscriber, or has lost its last."""
        for callback in self._makers:
            callback(uri, by_anybody)

    def on_watch(self, callback: Callable[[str, bool], None]) -> None:
        """Have `callback` called with each URI that is `watched`: what is live is worth computing only then."""
        self._makers.append(callback)

    def _tell(self, kind: Kind, tier: Tier) -> None:
        for callback in self._watchers:
            callback(kind, tier)


__all__ = [
    "Annotations",
    "Argument",
    "Audio",
    "Blob",
    "Body",
    "Call",
    "Catalog",
    "Completer",
    "Content",
    "Embedded",
    "Form",
    "Icon",
    "Image",
    "InputRequired",
    "Job",
    "Kind",
    "Link",
    "LogLevel",
    "Messages",
    "Method",
    "Peer",
    "Principal",
    "Prompt",
    "PromptMessage",
    "Question",
    "Relevance",
    "Reply",
    "Resource",
    "Roots",
    "Sample",
    "Shelf",
    "Template",
    "Text",
    "Tier",
    "Tool",
    "ToolHandler",
    "ToolResult",
    "Visit",
    "Work",
    "among",
]
