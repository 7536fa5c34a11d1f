"""What one look at the board gives: values with a unit, an age and a source. Unknown is None, never zero. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class Raw(NamedTuple):
    """What a source read just now."""

    key: str
    """What it is, dotted, its kind first: heat.cpu-thermal, battery.percent, rail.VDD_IN.power."""
    value: float | None
    unit: str
    source: str
    """The file or call it came from."""
    note: str = ""
    """Why the value is unknown, or what else is to be known about it."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the board."""

    value: float | None
    """None where it is unknown; `note` says why."""
    unit: str
    source: str
    age_s: float
    """Seconds since the value, or the last known one, was read."""
    note: str = ""


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """The few that everybody asks for."""

    temperature_c: float | None
    """The hottest sensor."""
    battery_pct: float | None
    mains: bool | None
    memory_available_bytes: int | None
    rss_bytes: int | None
    """Of this process."""
    load_1min: float | None
    cpu_mhz: float | None = None

    @classmethod
    def of(cls, sample: Sample) -> Readings:
        """The few of a sample."""
        mains = value(sample, "battery.mains")
        return cls(
            temperature_c=hottest(sample),
            battery_pct=value(sample, "battery.percent"),
            mains=None if mains is None else bool(mains),
            memory_available_bytes=_whole(value(sample, "memory.available")),
            rss_bytes=_whole(value(sample, "memory.rss")),
            load_1min=value(sample, "cpu.load"),
            cpu_mhz=value(sample, "cpu.frequency"),
        )


Sample = Mapping[str, Reading]
"""Every reading by its key."""


def value(sample: Sample, key: str) -> float | None:
    """A reading's value; None where it is unknown or absent."""
    found = sample.get(key)
    return found.value if found is not None else None


def hottest(sample: Sample) -> float | None:
    """The highest known temperature, °C."""
    known = [r.value for key, r in sample.items() if key.startswith("heat.") and r.value is not None]
    return max(known, default=None)


def slug(name: str) -> str:
    """One name for what the kernel spells in several ways: cpu_thermal and cpu-thermal, Package id 0."""
    return "-".join(name.replace("_", " ").replace("-", " ").lower().split())


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
