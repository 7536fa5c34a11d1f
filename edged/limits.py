"""How much work the device may do right now: one value, made in `power`, obeyed everywhere."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may run from the next item on; the default is an unconstrained board."""

    concurrency: int = 64
    """Inferences of one priority or a higher one in the daemon at once, queued or running."""
    rate_hz: float | None = None
    """Inferences admitted per second over all peers; None is no limit."""
    duty: float | None = None
    """Share of the board's CPU time that inferences may take, 0 to 1; None is no limit."""
    variant_floor: int = 0
    """Variants of a ladder that are skipped from the top (the dearest first)."""
    priority_floor: int = 0
    """Lowest priority admitted, 0 to 9."""
    telemetry_interval_s: float = 10.0
    """Seconds between telemetry samples."""
    updates_allowed: bool = True
    """Whether models and configs may be installed."""
    reason: str = "unconstrained"
    """Which reading and which band decided, in words."""
    band: str = "nominal"
    """The band that decided: nominal, shaped, warm, hot, critical; saving, low, critical; starved."""
    cause: str = ""
    """What decided: heat, battery, endurance, supply, memory, throttling; empty where nothing does."""
    threads_max: int | None = None
    """Threads an interpreter may use; None is what the config says."""
    memory_share: float = 1.0
    """Share of the models' memory budget that may stay in use, 0 to 1."""


UNCONSTRAINED = Limits()
