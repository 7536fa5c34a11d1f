"""From samples to limits: bands, heat shaped by its forecast, a battery that lasts as long as it should. Pure.

Everything that is remembered is in here, and `now` comes with the sample: the same samples give the same limits.
"""

from __future__ import annotations

from collections.abc import Sequence

from edged.limits import Limits
from edged.power.bands import DWELL_S, Rule
from edged.power.endurance import Endurance
from edged.power.governor import NOTHING, State, step
from edged.power.outlooks import Outlooks
from edged.power.readings import Sample
from edged.power.shaping import Bound, Shape, heat_bounds, heat_loads, shape


class Policy:
    """`decide` at every sample; `outlooks` and `state` are what it goes by."""

    def __init__(self, dwell_s: float = DWELL_S, endurance: Endurance | None = None) -> None:
        self._dwell_s, self._endurance = dwell_s, endurance
        self._shape = Shape()
        self._loads: dict[str, float] = {}
        self.outlooks = Outlooks()
        self.state: State = NOTHING

    def decide(self, rules: Sequence[Rule], sample: Sample, now: float) -> Limits:
        """What may run now; `now` in seconds, never less than at the call before."""
        self.outlooks.look(rules, sample, now)
        self._loads = heat_loads(rules, sample, self.outlooks, self._loads)
        bounds = heat_bounds(self._loads) + self._battery(sample, now)
        self._shape, shaped = shape(self._shape, bounds, sample, now, self._dwell_s)
        self.state, limits = step(self._planned(rules, now), self.state, sample, now, self._dwell_s, shaped)
        return limits

    def _battery(self, sample: Sample, now: float) -> list[Bound]:
        if self._endurance is None:
            return []
        self._endurance.look(sample, now)
        load = self._endurance.load(now)
        return (
            [] if load is None else [Bound(load, "endurance", "lets the battery last as long as it should")]
        )

    def _planned(self, rules: Sequence[Rule], now: float) -> Sequence[Rule]:
        """While the battery's time is planned, its bands do not turn anybody away."""
        if self._endurance is None or not self._endurance.planned(now):
            return rules
        return [rule._replace(cause="endurance") if rule.cause == "battery" else rule for rule in rules]
