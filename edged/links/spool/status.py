"""How the spool is, as values: for who shows it, without what does it."""

from __future__ import annotations

from typing import Final

import msgspec

from edged.links.spool.values import Kind

OK: Final = "ok"


class Total(msgspec.Struct, frozen=True):
    """Records of one kind."""

    count: int = 0
    size: int = 0


class SpoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the spool holds, and why it holds it."""

    spool: str
    """Names this file among all the device ever had; empty before it was opened."""
    records: dict[Kind, Total]
    budget_bytes: int
    acknowledged_by: str
    """broker or fleet, and what that means."""
    held_by: str
    """Why nothing leaves although something is there; empty otherwise."""
    sent: int
    """Messages the broker has taken since the start."""
    refused: dict[str, int]
    """Likewise refused, by reason code."""
    lost: dict[str, int]
    """Telemetry that will never be sent, since this spool was begun, by reason: evicted, expired."""
    spent_bytes: int
    """Sent in the present day (UTC)."""
    daily_bytes: int | None
    fleet_heard_s_ago: float | None
    """Since the fleet manager last acknowledged something; None before it has."""
    disk: str
    """ok, or what is wrong with it."""
    sealed: bool = False
    """Whether what comes now is encrypted on the disk."""
    keys: str = OK
    """ok, or why records that are sealed are kept and not sent."""
