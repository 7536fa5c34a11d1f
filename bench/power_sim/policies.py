"""What decides how much may run: ours, and what it is held against. Each sees what a program on the board would see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bench.power_sim.board import TRIP_C, Act
from edged.limits import UNCONSTRAINED, Limits
from edged.power import policy
from edged.power.bands import CHEAPEST, COMMON, Rule, heat, steps
from edged.power.endurance import Endurance
from edged.power.governor import NOTHING, State, level, step
from edged.power.readings import Reading, Sample

LOOK_S = 2.0
LEAST = 0.03


class Seen(NamedTuple):
    """What a program on the board sees at a look."""

    now: float
    celsius: float
    load: float
    percent: float | None = None
    """Of the battery, where there is one."""

    def sample(self) -> Sample:
        """As the ledger would put it."""
        reads = {"heat.cpu-thermal": self.celsius, "cpu.busy": 100 * self.load, "cpu.own": 100 * self.load}
        if self.percent is not None:
            reads |= {"battery.percent": self.percent, "battery.mains": 0.0, "battery.reserve": self.percent}
        return {key: Reading(value=at, unit="", source="sim", age_s=0.0) for key, at in reads.items()}


class Policy(Protocol):
    """Decides at every look from what it can see."""

    def look(self, seen: Seen) -> Act:
        """What may be until the next look."""


@dataclass
class Cap:
    """A fixed share of the CPU, whatever happens; all of it leaves everything to the firmware."""

    duty: float = 1.0

    def look(self, _: Seen) -> Act:
        """Always the same."""
        return Act(duty=self.duty)


@dataclass
class OnOff:
    """A thermostat: everything until `stop_c`, then nearly nothing until it is `below_k` less."""

    stop_c: float
    below_k: float
    on: bool = True

    def look(self, seen: Seen) -> Act:
        """Switch at either."""
        self.on = seen.celsius < (self.stop_c if self.on else self.stop_c - self.below_k)
        return Act(duty=1.0 if self.on else LEAST)


@dataclass
class PI:
    """A PI controller of the temperature, with anti-windup."""

    setpoint_c: float
    gain: float
    seconds: float
    integral: float = 1.0

    def look(self, seen: Seen) -> Act:
        """What the error asks for."""
        error = self.setpoint_c - seen.celsius
        self.integral = min(1.0, max(0.0, self.integral + self.gain * error * LOOK_S / self.seconds))
        return Act(duty=min(1.0, max(LEAST, self.integral + self.gain * error)))


HEAT = Rule("heat.cpu-thermal", "heat", heat(TRIP_C), required=True, unit=" °C")
RULES = [HEAT, *COMMON]
BANDS_C = steps(("warm", "hot", "critical"), (68, 63), (74, 69), (79, 73))
BAND_LIMITS = (
    UNCONSTRAINED,
    Limits(concurrency=16, variant_floor=1),
    Limits(concurrency=4, rate_hz=5.0, variant_floor=2, priority_floor=3),
    Limits(concurrency=1, rate_hz=1.0, variant_floor=CHEAPEST, priority_floor=6),
)


@dataclass
class Bands:
    """Steps of rate and variant by temperature alone, with hysteresis and dwell: what most fleets would write."""

    state: State = field(default_factory=dict)

    def look(self, seen: Seen) -> Act:
        """The limits of the highest band that is on."""
        rule = HEAT._replace(steps=BANDS_C)
        self.state, _ = step([rule], self.state or NOTHING, seen.sample(), seen.now)
        return Act(limits=BAND_LIMITS[level(rule, self.state[rule.reading])])


class Edged:
    """What the daemon does: its policy, its tables, its gate."""

    def __init__(self, endurance: Endurance | None = None) -> None:
        self.policy = policy.Policy(endurance=endurance)

    def look(self, seen: Seen) -> Act:
        """As at every look of the daemon."""
        return Act(limits=self.policy.decide(RULES, seen.sample(), seen.now))
