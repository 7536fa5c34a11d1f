"""What was read of the board, each value with its age and source; looked at no more often than is useful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from edged.power.readings import Readings

FRESH_S: Final = 1.0
"""How old a look may be: one costs up to a millisecond, whoever asks how often."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the board."""

    value: float | None
    """None where it is unknown; `note` says why. What is true or false is 1 or 0."""
    unit: str
    source: str
    """The file or call it came from."""
    age_s: float
    """Seconds since it was read."""
    note: str = ""


Sample: TypeAlias = Mapping[str, Reading]
"""By what is read, its kind first: heat.hottest, battery.percent."""


class _Kind(NamedTuple):
    field: str
    unit: str
    source: str


_KINDS: Final[Mapping[str, _Kind]] = {
    "battery.mains": _Kind("mains", "", "psutil.sensors_battery"),
    "battery.percent": _Kind("battery_pct", "%", "psutil.sensors_battery"),
    "heat.hottest": _Kind("temperature_c", "°C", "psutil.sensors_temperatures"),
    "load.1min": _Kind("load_1min", "", "psutil.getloadavg"),
    "memory.available": _Kind("memory_available_bytes", "B", "psutil.virtual_memory"),
    "process.rss": _Kind("rss_bytes", "B", "psutil.Process.memory_info"),
}


class Gauge:
    """Gives the last look at the board, and looks again when that is older than `FRESH_S`."""

    def __init__(self, clock: Callable[[], float], look: Callable[[], Readings]) -> None:
        self._clock = clock
        self._look = look
        self._looked: tuple[float, Readings] | None = None

    def sample(self) -> Sample:
        """Every reading."""
        now = self._clock()
        if self._looked is None or now - self._looked[0] >= FRESH_S:
            self._looked = now, self._look()
        at, readings = self._looked
        return {key: _reading(kind, readings, round(now - at, 3)) for key, kind in _KINDS.items()}


def value(sample: Sample, key: str) -> float | None:
    """A reading's value; None where it is unknown or absent."""
    found = sample.get(key)
    return found.value if found else None


def hottest(sample: Sample) -> float | None:
    """The highest known temperature, °C."""
    known = [r.value for key, r in sample.items() if key.startswith("heat.") and r.value is not None]
    return max(known, default=None)


def values(sample: Sample) -> dict[str, float | None]:
    """The values alone, which change when the board does, while ages always do."""
    return {key: reading.value for key, reading in sample.items()}


def _reading(kind: _Kind, readings: Readings, age_s: float) -> Reading:
    found = getattr(readings, kind.field)
    note = "this board has no such sensor, or it does not answer" if found is None else ""
    known = None if found is None else float(found)
    return Reading(value=known, unit=kind.unit, source=kind.source, age_s=age_s, note=note)
