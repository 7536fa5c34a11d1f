"""How the connections and MCP on them are, as values: for who shows it, without what does it."""

from __future__ import annotations

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is, for status and metrics."""

    broker: str | None
    """Its URL; None while there is no connection."""
    reason: str
    """Why there is none, or why the last one ended."""
    connects: int
    losses: int
    taken_over: int
    """How often somebody else came with our client id."""
    under_way: int
    faults: int
    """Exceptions of who uses the connection."""


class McpStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How MCP over MQTT is."""

    server_id: str
    server_name: str
    boot_id: str
    identity: str
    """offline, serving, asking (whether another device of this id lives), or yielded (to one that does)."""
    rival: str | None
    """The boot id of that other device."""
    conflicts: int
    access: str
    """Whether the broker guards its topics: guarded, trusted, open, or unproven."""
    clients: int
    openings: int
    """Handshakes on the control topic that nobody has gone on with."""
    answers_kept: int
    results_kept: int
    counts: dict[str, int]
    """Messages that were not answered as usual, by why."""
