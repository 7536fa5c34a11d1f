"""How much of the CPU inference may take: so much that heat stays below the trip and the battery lasts. Pure.

For heat the model that forecasts the trip, turned round: the largest load that it sees below the limit after the
horizon, asked again at every look (model-predictive control with one step). Until it has learned, and for sensors
that no model follows, the distance to the trip decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import NamedTuple

from edged.limits import Limits
from edged.power.bands import Rule
from edged.power.forecast import HeatModel
from edged.power.outlooks import Outlooks
from edged.power.readings import Sample, value

HORIZON_S = 12.0
"""Half as long again as a die takes to follow (8 s on a Pi 4): what a look decides must show at the ones after it."""
MARGIN_K = (0.5, 3.0)
"""How far below the trip it aims: by what the model mispredicts, between these."""
MARGIN_ERRORS = 1.8
FAR_K, NEAR_K = 10.0, 2.0
"""By distance alone: all from so far below the trip on, nothing from so near on."""
LEAST = 0.03
"""Never less: the first of a queue must be served some time. What then still heats the board is for the bands."""
STEP = 0.01
OTHERS_S = 20.0
"""What other programs take of the CPU is averaged over about so long."""

_SHAPED = "shaped: inference gets the share of the CPU that "


class Bound(NamedTuple):
    """A share of the CPU, of all programs together and unbounded, and what asks for it."""

    load: float
    cause: str
    words: str


class Shape(NamedTuple):
    """What is remembered from look to look."""

    on: bool = False
    calm_since_s: float | None = None
    others: float = 0.0
    at_s: float | None = None


def shape(
    before: Shape, bounds: Sequence[Bound], sample: Sample, now: float, dwell_s: float
) -> tuple[Shape, list[Limits]]:
    """The next memory, and the share that is left to inference; nothing while it may have all of it.

    It begins at once, and ends when every bound has allowed everything for the dwell.
    """
    others = _others(before, sample, now)
    least = min(bounds, default=None)
    calm_since_s: float | None = before.calm_since_s if before.calm_since_s is not None else now
    if least is not None and least.load < 1.0:
        calm_since_s = None
    if least is None or (calm_since_s is not None and (not before.on or now - calm_since_s >= dwell_s)):
        return Shape(False, calm_since_s, others, now), []
    duty = min(1.0, max(LEAST, int((least.load - others) / STEP) * STEP))
    limits = Limits(duty=round(duty, 2), band="shaped", cause=least.cause, reason=_SHAPED + least.words)
    return Shape(True, calm_since_s, others, now), [limits]


def heat_loads(
    rules: Sequence[Rule], sample: Sample, outlooks: Outlooks, before: Mapping[str, float]
) -> dict[str, float]:
    """The largest load that each sensor allows; of a required one that is silent what it allowed `before`."""
    found: dict[str, float] = {}
    steers = value(sample, "cpu.busy") is not None
    for rule in (rule for rule in rules if rule.cause == "heat"):
        celsius = value(sample, rule.reading)
        if celsius is not None:
            found[rule.reading] = _bearable(rule, celsius, outlooks.model(rule.reading) if steers else None)
        elif rule.required and rule.reading in before:
            found[rule.reading] = before[rule.reading]
    return found


def heat_bounds(loads: Mapping[str, float]) -> list[Bound]:
    """The same as bounds."""
    words = "keeps {} below where the board slows down"
    return [Bound(load, "heat", words.format(reading)) for reading, load in loads.items()]


def _bearable(rule: Rule, celsius: float, model: HeatModel | None) -> float:
    if model is not None:
        margin_k = min(MARGIN_K[1], max(MARGIN_K[0], MARGIN_ERRORS * model.error_k))
        if (most := model.most(rule.throttle_c - margin_k, HORIZON_S)) is not None:
            return most
    return (rule.throttle_c - NEAR_K - celsius) / (FAR_K - NEAR_K)


def _others(before: Shape, sample: Sample, now: float) -> float:
    """The share of the CPU that other programs take, smoothed; 0 where it is not known."""
    busy, own = value(sample, "cpu.busy"), value(sample, "cpu.own")
    if busy is None or own is None:
        return before.others
    keep = 0.0 if before.at_s is None else exp(-(now - before.at_s) / OTHERS_S)
    return keep * before.others + (1 - keep) * min(1.0, max(0.0, (busy - own) / 100))
