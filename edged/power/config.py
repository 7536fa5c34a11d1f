"""What the owner of a device may set about heat, battery and supply."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class PowerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[power]` table."""

    govern: bool = True
    """Whether heat, battery, supply and memory limit the work; false only reads and reports them."""
    board: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")] = "auto"
    """A profile of `edged hardware show --all`; auto asks the device tree."""
    overlays: list[str] = msgspec.field(default_factory=list)
    """Batteries that are there although nothing readable says so; the others are found."""
    endurance_h: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """How long a full battery has to last: inference gets what that leaves, whatever its priority."""
    poweroff: bool = False
    """Whether to power the board off, in good order, before its battery is empty."""
    poweroff_at_pct: Annotated[float, Meta(ge=1, le=50)] = 3.0
    """At this charge, in use: below it gauges and cells let go at any time."""
    poweroff_command: Annotated[list[str], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["systemctl", "poweroff"]
    )
    """What does it, without a shell; the daemon's user must be allowed to (docs/owner.md)."""
    sample_interval_s: Seconds = 2.0
    """Between two looks while anything is limited."""
    near_interval_s: Seconds = 3.0
    """Between two looks while nothing is limited, but close to it: one wakeup a second."""
    calm_interval_s: Seconds = 5.0
    """Between two looks while nothing is near a band: three wakeups each, so below one a second."""
    dwell_s: Seconds = 60.0
    """How long a reading has to stay better before there is more work again."""
    read_timeout_s: Seconds = 5.0
    """After it a sensor that hangs is unknown, and the others are read without it."""
    pisugar_socket: Annotated[str, Meta(pattern="^/")] = "/run/edged/pisugar.sock"
    """Where the PiSugar daemon answers: bind its /tmp/pisugar-server.sock here, for the unit has its own /tmp."""
    root: Annotated[str, Meta(pattern="^/")] = "/"
    """Where sys and proc are; another place only to try a recorded board."""
