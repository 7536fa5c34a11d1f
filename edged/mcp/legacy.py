"""The handshake era: 2024-11-05 to 2025-11-25, agreed once per connection by `initialize`.

Pure. Source: lifecycle pages of those revisions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edged.mcp.revision import V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, Revision

REVISIONS: Final = {
    revision.version: revision for revision in (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25)
}
LATEST: Final = V2025_11_25


class InitializeParams(msgspec.Struct, frozen=True, rename="camel"):
    """What a client opens with."""

    protocol_version: str
    capabilities: dict[str, Any] = {}
    client_info: dict[str, Any] = {}


def negotiate(requested: str) -> Revision:
    """The revision asked for where it has a handshake, else the newest that has."""
    return REVISIONS.get(requested, LATEST)
