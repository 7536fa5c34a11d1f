"""What differs on the wire between the protocol's revisions, as values.

Pure. Handlers and shapes ask a `Revision` what it knows; nothing else compares version strings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One published revision of MCP."""

    version: str
    annotations: bool = True
    """Tool annotations, and a message beside progress."""
    titles: bool = True
    """`title` of tools and of the server."""
    structured: bool = True
    """`outputSchema` and `structuredContent`."""
    batches: bool = False
    """JSON-RPC arrays are accepted."""
    stateless: bool = False
    """Every request carries its envelope; results are stamped with `resultType` and the server's name."""
