"""What a server says of itself and its offers, encoded once per tier and revision.

Pure. Lists are ordered by key, and a cursor holds the key the last page ended with: it stays good while other
offers come and go, and itself may go.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from edged.mcp import listed, modern
from edged.mcp.catalog import Catalog, Kind, Method, Shelf, Tier
from edged.mcp.config import McpConfig
from edged.mcp.jsonrpc import INVALID_PARAMS, Failure
from edged.mcp.results import Discovered, Info, Initialized, Page, server_info
from edged.mcp.revision import Revision

ListName: TypeAlias = Literal["tools", "resources", "resource_templates", "prompts"]
_DISCOVER_TTL_MS: Final = 3_600_000  # what is discovered changes with the daemon's version alone


class _Source(msgspec.Struct, frozen=True):
    """Where the entries of a list come from, and how each looks."""

    shelf: Shelf[Any]
    entry: Callable[[Any, Revision], msgspec.Struct]
    kind: Kind


class Listings:
    """Encoded results of the listing methods; `forget` when the catalog changes."""

    def __init__(
        self,
        catalog: Catalog,
        info: Info,
        limits: McpConfig,
        methods: Mapping[str, Method],
        *,
        tasks: bool = False,
    ) -> None:
        self._sources: dict[ListName, _Source] = {
            "tools": _Source(catalog.tools, listed.tool, "tools"),
            "resources": _Source(catalog.resources, listed.resource, "resources"),
            "resource_templates": _Source(catalog.templates, listed.template, "resources"),
            "prompts": _Source(catalog.prompts, listed.prompt, "prompts"),
        }
        self._info = info
        self._limits = limits
        self._methods = methods
        self._tasks = tasks
        self._pages: dict[tuple[ListName, Tier, str, int], Raw] = {}
        self.stamp = Raw(msgspec.json.encode({modern.SERVER_KEY: server_info(info, modern.REVISION)}))

    def forget(self, kind: Kind) -> None:
        """Drop what was encoded of this kind."""
        for key in tuple(self._pages):
            if self._sources[key[0]].kind == kind:
                del self._pages[key]

    def page(self, name: ListName, tier: Tier, revision: Revision, cursor: str | None) -> Raw:
        """One page of a list; raises Failure for a cursor that this list did not give."""
        if cursor is None and (page := self._pages.get((name, tier, revision.version, 0))):
            return page
        offers = self._sources[name].shelf.visible(tier)
        first = 0 if cursor is None else bisect_right(offers, _key_in(name, cursor), key=lambda o: o.key)
        key = (name, tier, revision.version, first)
        if (page := self._pages.get(key)) is None:
            page = self._pages[key] = Raw(msgspec.json.encode(self._page(name, offers, first, revision)))
        return page

    def _page(self, name: ListName, offers: list[Any], first: int, revision: Revision) -> Page:
        shown = offers[first : first + self._limits.page_max]
        entry = self._sources[name].entry
        entries: dict[str, Any] = {name: [entry(offer, revision) for offer in shown]}
        return Page(
            **entries,
            next_cursor=_cursor(name, shown[-1].key) if first + len(shown) < len(offers) else UNSET,
            ttl_ms=self._limits.list_ttl_ms if revision.stateless else UNSET,
            cache_scope="private" if revision.stateless else UNSET,
            result_type="complete" if revision.stateless else UNSET,
            meta=self.stamp if revision.stateless else UNSET,
        )

    def discovered(self, tier: Tier) -> Discovered:
        """Result of `server/discover`."""
        extensions = self._own_methods(tier)
        if self._tasks:
            extensions[modern.TASKS_EXTENSION] = {}
        return Discovered(
            supported_versions=modern.SUPPORTED,
            capabilities=_capabilities(modern.REVISION) | ({"extensions": extensions} if extensions else {}),
            instructions=self._info.instructions or UNSET,
            ttl_ms=_DISCOVER_TTL_MS,
            cache_scope="private",
            result_type="complete",
            meta=self.stamp,
        )

    def initialized(self, tier: Tier, revision: Revision) -> Initialized:
        """Result of `initialize`."""
        own = self._own_methods(tier)
        return Initialized(
            protocol_version=revision.version,
            capabilities=_capabilities(revision) | ({"experimental": own} if own else {}),
            server_info=server_info(self._info, revision),
            instructions=self._info.instructions or UNSET,
        )

    def _own_methods(self, tier: Tier) -> dict[str, dict[str, Any]]:
        return {name: {} for name in sorted(self._methods) if self._methods[name].tier <= tier}


def _capabilities(revision: Revision) -> dict[str, Any]:
    """What every server of ours can do; a catalog that is empty now may not stay so."""
    known: dict[str, Any] = {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "logging": {},
    }
    return known | ({"completions": {}} if revision.completions else {})


def _cursor(name: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{name}:{key}".encode()).decode()


def _key_in(name: str, cursor: str) -> str:
    try:
        text = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(f"{name}:"):
        raise Failure(INVALID_PARAMS, "$.cursor: not one this server gave")
    return text.removeprefix(f"{name}:")
