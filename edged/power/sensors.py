"""Readings of the board. What cannot be read is unknown (None), never zero."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the board."""

    temperature_c: float | None
    """The hottest sensor."""
    battery_pct: float | None
    mains: bool | None
    memory_available_bytes: int | None
    rss_bytes: int | None
    """Of this process."""
    load_1min: float | None


def read() -> Readings:
    """Look once; takes up to a millisecond, so call it off the event loop or on request."""
    import psutil  # noqa: PLC0415 - 2 MB that a daemon nobody asks does not need

    battery = _known(psutil.sensors_battery)
    memory = _known(psutil.virtual_memory)
    process = _known(lambda: psutil.Process().memory_info())
    load = _known(psutil.getloadavg)
    return Readings(
        temperature_c=_hottest(_known(psutil.sensors_temperatures) or {}),
        battery_pct=battery.percent if battery else None,
        mains=battery.power_plugged if battery else None,
        memory_available_bytes=memory.available if memory else None,
        rss_bytes=process.rss if process else None,
        load_1min=round(load[0], 2) if load else None,
    )


def _hottest(groups: dict[str, list[Any]]) -> float | None:
    return max((sensor.current for group in groups.values() for sensor in group), default=None)


def _known(look: Any) -> Any:
    """None where the kernel has no such thing: psutil raises where /sys/class/power_supply is missing."""
    with contextlib.suppress(OSError, AttributeError, NotImplementedError, ValueError):
        return look()
    return None
