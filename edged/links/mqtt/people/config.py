"""What the owner of a device may set about what it tells people."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class HomeAssistantConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Home Assistant finds the device by itself."""

    enabled: bool = True
    """Whether to announce the device. Default: yes; it costs one retained message."""
    prefix: Annotated[str, Meta(pattern=r"^[^/+#$\x00][^+#\x00]{0,62}$(?!\n)")] = "homeassistant"
    """The discovery prefix set in Home Assistant. Default: Home Assistant's own."""
    name: Annotated[str, Meta(max_length=100)] = ""
    """What the device is called there. Default: its id."""


class StateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told of the device on the broker: status, the newest sample, telemetry, alerts."""

    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    """Seconds between two samples, at least; a hot or starved board takes them less often. Default: what a
    graph of a board's heat needs."""
    batch_s: Annotated[float, Meta(ge=0, le=3600)] = 300.0
    """Seconds of samples that are written to the card, and sent, at once. Default: one write in five minutes; a
    power cut loses so much telemetry at most, and no alert."""
    telemetry: bool = True
    """Whether samples are kept for the fleet. Default: yes."""
    now: bool = True
    """Whether the newest sample is published as it is taken; Home Assistant lives on it. Default: yes; no saves
    some 10 MB a day where a network is paid by volume."""
    mute: tuple[Annotated[str, Meta(max_length=40)], ...] = ()
    """Problems that are none here, by their code: keys.weak on a board without a TPM. Default: none."""
    home_assistant: HomeAssistantConfig = HomeAssistantConfig()
