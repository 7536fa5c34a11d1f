"""From what the sources read to what may be believed: merged, aged, checked, latched. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edged.power.readings import Raw, Reading, value

HEAT_C = (-40.0, 125.0)
"""A die beyond these is off: every board of ours powers down at 110 °C or before."""
FROZEN_S = 600.0
"""A temperature that says exactly the same for so long ..."""
FROZEN_LOAD_PCT = 50.0
"""... while the CPU's load went up or down by so much is a sensor that stopped measuring."""
CPU_COOLERS = ("cooling.cpufreq", "cooling.thermal-cpufreq")
"""Cooling devices that slow the CPU; a fan's state says nothing about our speed."""
FIRMWARE_SLOWS = 0b0110
"""Frequency capped or throttled. The soft limit of a 3B+ costs it a seventh of its clock from 60 °C on: not counted."""
GAUGE_VOLTAGE = "gauge.ina219.voltage"
CURRENT_SEEN_A = 0.05
"""Below it a gauge does not tell charging from discharging."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A battery known by its voltage alone, as behind an INA219."""

    empty_v: float
    full_v: float

    def percent(self, volts: float) -> float:
        """Charge by the line between empty and full."""
        return min(100.0, max(0.0, 100 * (volts - self.empty_v) / (self.full_v - self.empty_v)))

    def fits(self, volts: float) -> bool:
        """Whether such a pack can have this voltage: packs of one and of two cells do not overlap."""
        return self.empty_v - 0.6 <= volts <= self.full_v + 0.4


class _Kept(msgspec.Struct):
    """What is remembered of one reading."""

    unit: str
    source: str
    known_at_s: float
    last: float | None = None
    same_since_s: float = 0.0
    load_pct: tuple[float, float] | None = None
    """Lowest and highest load since then."""


class Ledger:
    """Remembers what was ever seen, so that what vanishes is told from what was never there."""

    def __init__(self, gauges: Sequence[Gauge] = ()) -> None:
        self._gauges = gauges
        self._kept: dict[str, _Kept] = {}
        self._undervoltage = 0
        self._alarm = False

    def update(self, raws: Iterable[Raw], now: float) -> dict[str, Reading]:
        """One sample; the first known value of a key counts, so give the sources in the order of trust."""
        chosen: dict[str, Raw] = {}
        for raw in map(_checked, raws):
            if raw.key not in chosen or (chosen[raw.key].value is None and raw.value is not None):
                chosen[raw.key] = raw
        busy = chosen.get("cpu.busy")
        sample = {key: self._aged(raw, now, busy.value if busy else None) for key, raw in chosen.items()}
        for key in self._kept.keys() - chosen.keys():
            sample[key] = self._unknown(key, now, "gone")
        self._latch(sample)
        self._derive(sample)
        return sample

    def _aged(self, raw: Raw, now: float, load_pct: float | None) -> Reading:
        kept = self._kept.get(raw.key)
        if raw.value is None:
            if kept is None:
                return Reading(value=None, unit=raw.unit, source=raw.source, age_s=0.0, note=raw.note)
            return self._unknown(raw.key, now, raw.note)
        if kept is None:
            kept = self._kept[raw.key] = _Kept(raw.unit, raw.source, now)
        kept.known_at_s, kept.source = now, raw.source
        if raw.key.startswith("heat.") and (said := self._frozen(kept, raw.value, now, load_pct)):
            return Reading(
                value=None, unit=raw.unit, source=raw.source, age_s=now - kept.same_since_s, note=said
            )
        return Reading(value=raw.value, unit=raw.unit, source=raw.source, age_s=0.0, note=raw.note)

    def _unknown(self, key: str, now: float, note: str) -> Reading:
        kept = self._kept[key]
        return Reading(
            value=None,
            unit=kept.unit,
            source=kept.source,
            age_s=now - kept.known_at_s,
            note=note or "unknown",
        )

    def _frozen(self, kept: _Kept, reads: float, now: float, load_pct: float | None) -> str:
        """What there is to say of a temperature that stands still while the load does not."""
        if reads != kept.last:
            kept.last, kept.same_since_s, kept.load_pct = reads, now, None
        if load_pct is not None:
            low, high = kept.load_pct or (load_pct, load_pct)
            kept.load_pct = min(low, load_pct), max(high, load_pct)
        low, high = kept.load_pct or (0.0, 0.0)
        since_s = now - kept.same_since_s
        if since_s < FROZEN_S or high - low < FROZEN_LOAD_PCT:
            return ""
        return f"frozen at {reads:g} for {since_s:.0f} s while the load went from {low:.0f} to {high:.0f} %"

    def _latch(self, sample: dict[str, Reading]) -> None:
        """Count every beginning of an under-voltage: by the time somebody looks it is over."""
        alarm = sample.get("supply.undervoltage")
        if alarm is None:
            return
        if alarm.value is not None:
            self._undervoltage += bool(alarm.value) and not self._alarm
            self._alarm = bool(alarm.value)
        sample["supply.undervoltage-events"] = Reading(
            value=float(self._undervoltage), unit="", source=alarm.source, age_s=0.0, note="since the start"
        )

    def _derive(self, sample: dict[str, Reading]) -> None:
        """What follows from two readings."""
        if "battery.percent" not in sample:
            self._gauge(sample)
        _share(sample, "memory.available", "memory.total", "memory.available-share")
        _share(sample, "cgroup.memory.used", "cgroup.memory.max", "cgroup.memory.used-share")
        _throttling(sample)
        if (percent := sample.get("battery.percent")) is not None:
            plugged = value(sample, "battery.mains") == 1.0
            sample["battery.reserve"] = msgspec.structs.replace(
                percent,
                value=100.0 if plugged else percent.value,
                note="on mains" if plugged else percent.note or "on battery",
            )

    def _gauge(self, sample: dict[str, Reading]) -> None:
        volts = sample.get(GAUGE_VOLTAGE)
        if volts is None:
            return
        gauge = next((g for g in self._gauges if volts.value is None or g.fits(volts.value)), None)
        if gauge is None:
            return
        percent = None if volts.value is None else round(gauge.percent(volts.value), 1)
        sample["battery.percent"] = msgspec.structs.replace(volts, value=percent, unit="%")
        current = value(sample, "gauge.ina219.current")
        known = current is not None and abs(current) >= CURRENT_SEEN_A
        sample["battery.mains"] = msgspec.structs.replace(
            volts, value=float(current > 0) if known and current is not None else None, unit=""
        )
        if (watts := sample.get("gauge.ina219.power")) is not None:
            sample["battery.power"] = watts


def _throttling(sample: dict[str, Reading]) -> None:
    """Whether firmware or kernel is slowing the CPU at this moment."""
    firmware = sample.get("throttle.firmware")
    coolers = [r for key, r in sample.items() if key.startswith(CPU_COOLERS)]
    told = [*coolers, *([firmware] if firmware else [])]
    known = [reading for reading in told if reading.value is not None]
    if told:
        slowed = any(
            bool(int(r.value or 0) & FIRMWARE_SLOWS) if r is firmware else (r.value or 0) > 0 for r in known
        )
        source = ", ".join(reading.source for reading in told)
        sample["throttle.active"] = Reading(
            value=float(slowed) if known else None, unit="", source=source, age_s=0.0
        )


def _share(sample: dict[str, Reading], part: str, whole: str, name: str) -> None:
    of, total = sample.get(part), value(sample, whole)
    if of is not None and total:
        known = None if of.value is None else round(100 * of.value / total, 2)
        sample[name] = msgspec.structs.replace(of, value=known, unit="%")


def _checked(raw: Raw) -> Raw:
    """Unknown where the value cannot be."""
    low, high = HEAT_C if raw.key.startswith("heat.") else (float("-inf"), float("inf"))
    if raw.key == "battery.percent":
        low, high = 0.0, 100.0
    if raw.value is None or low <= raw.value <= high:
        return raw
    return raw._replace(value=None, note=f"implausible: {raw.value:g} {raw.unit}")
