"""When there is less work, and how much less: the tables the governor steps through. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from edged.limits import UNCONSTRAINED, Limits

Cause = Literal["heat", "battery", "endurance", "supply", "memory", "throttling"]

DWELL_S = 60.0
"""How long a reading must stay beyond `leave` before its band is left."""
SILENT_SAMPLES = 3
"""A required reading that is unknown so often in a row counts one band hotter."""
BLIND_DUTY = 0.25
"""Share of the CPU while a required reading is silent: nobody sees what the work does to the board."""
CHEAPEST = 9
"""A variant floor that leaves the cheapest of any ladder."""


class Step(NamedTuple):
    """One band of one reading: entered at `enter` at once, left beyond `leave` after the dwell."""

    level: int
    band: str
    enter: float
    leave: float


class Rule(NamedTuple):
    """What one reading does to the work."""

    reading: str
    cause: Cause
    steps: tuple[Step, ...]
    """From the mildest on."""
    falling: bool = False
    """Whether low values are the bad ones."""
    required: bool = False
    """Whether silence counts against it once it was heard."""
    unit: str = ""

    @property
    def throttle_c(self) -> float:
        """Of a heat rule: where the board slows itself down."""
        return self.steps[0].enter + HEAT_BELOW_THROTTLE_C[0][0]


Trigger = tuple[float, float]
"""Enter and leave."""


def steps(names: tuple[str, str, str], *triggers: Trigger) -> tuple[Step, ...]:
    """Bands of levels 1, 2 and 3 from their triggers."""
    return tuple(Step(i + 1, names[i], *trigger) for i, trigger in enumerate(triggers))


HEAT = ("warm", "hot", "critical")
HEAT_BELOW_THROTTLE_C: tuple[Trigger, Trigger, Trigger] = ((12, 17), (6, 11), (-1, 4))
"""A Pi 4, which throttles at 80 °C, is warm at 68 °C until 63, hot at 74 until 69, critical at 81 until 76.

Below the throttling point the share of the CPU does the work (`shaping`); critical is what that did not prevent.
"""
BATTERY = steps(("saving", "low", "critical"), (50, 55), (20, 25), (10, 15))
MEMORY_FREE = steps(("tight", "short", "starved"), (12, 17), (7, 11), (4, 7))
"""Percent of RAM still available (MemAvailable)."""
MEMORY_GROUP = steps(("tight", "short", "starved"), (80, 72), (88, 80), (94, 88))
"""Percent of memory.max used: the kernel kills at 100."""
MEMORY_STALL = steps(("tight", "short", "starved"), (10, 4), (25, 10), (50, 25))
"""PSI some avg10, percent of time: systemd-oomd acts at 60 (oomd.conf(5))."""
UNDERVOLTAGE = (Step(2, "brown-out", 1, 0),)
FIRMWARE = (Step(1, "throttled", 1, 0),)


def heat(throttle_c: float) -> tuple[Step, ...]:
    """The heat bands of a board that slows itself down at `throttle_c`."""
    return steps(HEAT, *((throttle_c - enter, throttle_c - leave) for enter, leave in HEAT_BELOW_THROTTLE_C))


COMMON: tuple[Rule, ...] = (
    Rule("battery.reserve", "battery", BATTERY, falling=True, required=True, unit=" %"),
    Rule("supply.undervoltage", "supply", UNDERVOLTAGE),
    Rule("throttle.active", "throttling", FIRMWARE),
    Rule("memory.available-share", "memory", MEMORY_FREE, falling=True, unit=" %"),
    Rule("cgroup.memory.used-share", "memory", MEMORY_GROUP, unit=" %"),
    Rule("pressure.memory.some", "memory", MEMORY_STALL, unit=" %"),
)
"""What holds on every board; heat comes from its profile."""

ALLOWED: dict[Cause, tuple[Limits, ...]] = {
    "heat": (
        UNCONSTRAINED,
        Limits(concurrency=16, telemetry_interval_s=20.0),
        Limits(
            concurrency=8, variant_floor=1, threads_max=1, telemetry_interval_s=60.0, updates_allowed=False,
        ),
        Limits(
            concurrency=1, duty=0.05, variant_floor=CHEAPEST, priority_floor=6, threads_max=1,
            telemetry_interval_s=60.0, updates_allowed=False,
        ),
    ),
    "battery": (
        UNCONSTRAINED,
        Limits(concurrency=16, variant_floor=1, threads_max=1, telemetry_interval_s=60.0),
        Limits(
            concurrency=4, duty=0.25, variant_floor=2, priority_floor=3, threads_max=1,
            telemetry_interval_s=300.0, updates_allowed=False,
        ),
        Limits(
            concurrency=1, rate_hz=0.5, duty=0.05, variant_floor=CHEAPEST, priority_floor=9, threads_max=1,
            telemetry_interval_s=900.0, updates_allowed=False,
        ),
    ),
    "endurance": (  # how much is done is shaped; these are about what each answer costs
        UNCONSTRAINED,
        Limits(concurrency=16, threads_max=1, telemetry_interval_s=60.0),
        Limits(
            concurrency=16, variant_floor=1, threads_max=1, telemetry_interval_s=300.0, updates_allowed=False,
        ),
        Limits(
            concurrency=8, variant_floor=CHEAPEST, threads_max=1, telemetry_interval_s=900.0,
            updates_allowed=False,
        ),
    ),
    "supply": (  # what browns out is the peak, and a card written to at that moment is lost
        UNCONSTRAINED,
        Limits(concurrency=8, threads_max=1, updates_allowed=False),
        Limits(concurrency=1, variant_floor=1, threads_max=1, updates_allowed=False),
        Limits(concurrency=1, variant_floor=CHEAPEST, priority_floor=6, threads_max=1, updates_allowed=False),
    ),
    "memory": (
        UNCONSTRAINED,
        Limits(concurrency=16, memory_share=0.75),
        Limits(concurrency=4, variant_floor=1, memory_share=0.5, updates_allowed=False),
        Limits(
            concurrency=1, variant_floor=CHEAPEST, priority_floor=3, memory_share=0.25,
            telemetry_interval_s=60.0, updates_allowed=False,
        ),
    ),
    "throttling": (
        UNCONSTRAINED,
        Limits(concurrency=16, variant_floor=1),
        Limits(concurrency=4, variant_floor=2, updates_allowed=False),
        Limits(concurrency=1, variant_floor=CHEAPEST, priority_floor=3, updates_allowed=False),
    ),
}  # fmt: skip
"""By cause and level, 0 first; every field no laxer than at the level before."""


def tightest(limits: list[Limits]) -> Limits:
    """Every field as the strictest of them has it; words and band as in the first."""
    rates = [one.rate_hz for one in limits if one.rate_hz is not None]
    duties = [one.duty for one in limits if one.duty is not None]
    threads = [one.threads_max for one in limits if one.threads_max is not None]
    return msgspec.structs.replace(
        limits[0],
        concurrency=min(one.concurrency for one in limits),
        rate_hz=min(rates, default=None),
        duty=min(duties, default=None),
        variant_floor=max(one.variant_floor for one in limits),
        priority_floor=max(one.priority_floor for one in limits),
        telemetry_interval_s=max(one.telemetry_interval_s for one in limits),
        updates_allowed=all(one.updates_allowed for one in limits),
        threads_max=min(threads, default=None),
        memory_share=min(one.memory_share for one in limits),
    )
