"""What a server says of itself and its tools, encoded once per tier and revision.

Pure. Lists are ordered by name, and a cursor is the name the last page ended with: it stays good while other
tools come and go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from edged.mcp import modern
from edged.mcp.catalog import Catalog, Method, Tier
from edged.mcp.config import McpConfig
from edged.mcp.jsonrpc import INVALID_PARAMS, Failure
from edged.mcp.results import Discovered, Info, Initialized, ToolPage, listed, server_info
from edged.mcp.revision import Revision

_CURSOR: Final = "after:"
_DISCOVER_TTL_MS: Final = 3_600_000  # what is discovered changes with the daemon's version alone


class Listings:
    """Encoded results of the listing methods; `forget` when the catalog changes."""

    def __init__(
        self, catalog: Catalog, info: Info, limits: McpConfig, methods: Mapping[str, Method]
    ) -> None:
        self._catalog = catalog
        self._info = info
        self._limits = limits
        self._methods = methods
        self._pages: dict[tuple[Tier, str, str | None], Raw] = {}
        self.stamp = Raw(msgspec.json.encode({modern.SERVER_KEY: server_info(info, modern.REVISION)}))

    def forget(self) -> None:
        """Drop what was encoded from the catalog."""
        self._pages.clear()

    def tools(self, tier: Tier, revision: Revision, cursor: str | None) -> Raw:
        """One page of `tools/list`; raises Failure for a cursor that no page ended with."""
        key = (tier, revision.version, cursor)
        if (page := self._pages.get(key)) is None:
            page = Raw(msgspec.json.encode(self._page(tier, revision, cursor)))
            self._pages[key] = page
        return page

    def _page(self, tier: Tier, revision: Revision, cursor: str | None) -> ToolPage:
        visible = self._catalog.tools.visible(tier)
        first = 0
        if cursor is not None:
            names = [tool.name for tool in visible]
            if not cursor.startswith(_CURSOR) or cursor.removeprefix(_CURSOR) not in names:
                raise Failure(INVALID_PARAMS, "$.cursor: not one this server gave")
            first = names.index(cursor.removeprefix(_CURSOR)) + 1
        page = visible[first : first + self._limits.page_max]
        more = first + len(page) < len(visible)
        return ToolPage(
            tools=[listed(tool, revision) for tool in page],
            next_cursor=_CURSOR + page[-1].name if more else UNSET,
            ttl_ms=self._limits.list_ttl_ms if revision.stateless else UNSET,
            cache_scope="private" if revision.stateless else UNSET,
            result_type="complete" if revision.stateless else UNSET,
            meta=self.stamp if revision.stateless else UNSET,
        )

    def discovered(self, tier: Tier) -> Discovered:
        """Result of `server/discover`."""
        return Discovered(
            supported_versions=modern.SUPPORTED,
            capabilities={"tools": {"listChanged": True}, **self._own_methods("extensions", tier)},
            instructions=self._info.instructions or UNSET,
            ttl_ms=_DISCOVER_TTL_MS,
            cache_scope="private",
            result_type="complete",
            meta=self.stamp,
        )

    def initialized(self, tier: Tier, revision: Revision) -> Initialized:
        """Result of `initialize`."""
        return Initialized(
            protocol_version=revision.version,
            capabilities={"tools": {"listChanged": True}, **self._own_methods("experimental", tier)},
            server_info=server_info(self._info, revision),
            instructions=self._info.instructions or UNSET,
        )

    def _own_methods(self, member: str, tier: Tier) -> dict[str, dict[str, Any]]:
        names = [name for name in sorted(self._methods) if self._methods[name].tier <= tier]
        return {member: {name: {} for name in names}} if names else {}
