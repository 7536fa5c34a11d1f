"""A tool whose work ends when the test says so."""

from __future__ import annotations

from edged.mcp.catalog import Catalog, Tier, Tool
from tests.rig.desk import Later
from tests.rig.echo_server import Nothing


def late_catalog() -> Catalog:
    """One tool, `late`; settle its calls at the `Desk`."""
    offered = Catalog()
    offered.put(
        Tool(
            name="late",
            title="Late",
            description="ends when told to",
            arguments=Nothing,
            handler=lambda _call, _arguments: Later(),
            tier=Tier.READ,
        )
    )
    return offered
