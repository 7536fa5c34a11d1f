"""What differs on the wire between the protocol's revisions, as values.

Pure. Handlers and shapes ask a `Revision` what it knows; nothing else compares version strings.
Source: schema/<revision>/schema.json and the changelog of each.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One published revision of MCP."""

    version: str
    annotations: bool = False
    """Tool annotations, and a message beside progress."""
    audio: bool = False
    """Audio content."""
    completions: bool = False
    """`completions` is a capability of its own."""
    batches: bool = False
    """JSON-RPC arrays are accepted."""
    titles: bool = False
    """`title` of everything that has a name, its `_meta`, and when it was last modified."""
    structured: bool = False
    """`outputSchema` and `structuredContent`."""
    links: bool = False
    """Links to resources as content."""
    elicitation: bool = False
    """Asking the user to fill in a form."""
    icons: bool = False
    """Icons of everything that has a name."""
    visits: bool = False
    """Asking the user to open a page."""
    stateless: bool = False
    """Every request carries its envelope; results are stamped with `resultType` and the server's name."""


V2024_11_05: Final = Revision(version="2024-11-05")
V2025_03_26: Final = replace(
    V2024_11_05, version="2025-03-26", annotations=True, audio=True, completions=True, batches=True
)
V2025_06_18: Final = replace(
    V2025_03_26,
    version="2025-06-18",
    batches=False,
    titles=True,
    structured=True,
    links=True,
    elicitation=True,
)
V2025_11_25: Final = replace(V2025_06_18, version="2025-11-25", icons=True, visits=True)
V2026_07_28: Final = replace(V2025_11_25, version="2026-07-28", stateless=True)
