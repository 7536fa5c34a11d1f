"""Keeps the forecasts of this board: a heat model a governing sensor, and the battery's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from edged.power.bands import Rule
from edged.power.forecast import NOT_YET, BatteryModel, HeatModel, Outlook
from edged.power.readings import Sample, value

LOAD_S = 30.0
"""A forecast supposes the mean load of about this long to go on."""
MODELS_MAX = 2
"""Of the required sensors: a board's dies warm together, and each costs 0.2 ms a look."""


class Outlooks:
    """`look` at every sample; ask whenever."""

    def __init__(self) -> None:
        self._heat: dict[str, tuple[HeatModel, float]] = {}
        self._battery = BatteryModel()
        self._load = 0.0
        self._looked_s: float | None = None

    def look(self, rules: Sequence[Rule], sample: Sample, now: float) -> None:
        """Learn from one sample."""
        self._follow_battery(sample, now)
        busy = value(sample, "cpu.busy")
        if busy is None:
            return
        share = min(1.0, max(0.0, busy / 100))
        keep = 0.0 if self._looked_s is None else exp(-(now - self._looked_s) / LOAD_S)
        self._load = keep * self._load + (1 - keep) * share
        self._looked_s = now
        for rule in rules:
            if rule.cause == "heat" and rule.required:
                self._follow_heat(rule, value(sample, rule.reading), share, now)

    def model(self, reading: str) -> HeatModel | None:
        """The one that follows this sensor."""
        found = self._heat.get(reading)
        return found[0] if found is not None else None

    def to_throttle(self) -> Outlook:
        """The soonest of all sensors."""
        said = [model.to(throttle_c, self._load) for model, throttle_c in self._heat.values()]
        timed = [outlook for outlook in said if outlook.seconds is not None]
        if timed:
            return min(timed, key=lambda outlook: outlook.seconds or 0.0)
        return next((outlook for outlook in said if outlook is not NOT_YET), NOT_YET)

    def to_empty(self) -> Outlook:
        """Of the battery; not enough seen where there is none, or it is charging."""
        return self._battery.empty()

    def _follow_heat(self, rule: Rule, celsius: float | None, load: float, now: float) -> None:
        if rule.reading not in self._heat and len(self._heat) < MODELS_MAX:
            self._heat[rule.reading] = HeatModel(), rule.throttle_c
        if celsius is not None and rule.reading in self._heat:
            self._heat[rule.reading][0].look(now, celsius, load)

    def _follow_battery(self, sample: Sample, now: float) -> None:
        percent = value(sample, "battery.percent")
        if percent is not None:
            mains = value(sample, "battery.mains") == 1.0
            self._battery.look(now, percent, discharging=not mains)
