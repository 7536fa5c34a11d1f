"""How much work there may be: bands with hysteresis over every reading that matters. Pure: replay gives the same.

`step` is the whole of it: upward at once, downward after the dwell, silence of a required sensor one band up, and the
tightest of all that is active counts, with the reading and the band that decided in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from edged.limits import UNCONSTRAINED, Limits
from edged.power.bands import ALLOWED, BLIND_DUTY, DWELL_S, SILENT_SAMPLES, Rule, Step, tightest
from edged.power.readings import Reading, Sample


class Latch(NamedTuple):
    """Whether a band is on, since what value, and since when it might be left."""

    on: bool = False
    at_value: float = 0.0
    calm_since_s: float | None = None


class Watch(NamedTuple):
    """What is remembered of one rule."""

    latches: tuple[Latch, ...]
    heard: bool = False
    silent: int = 0
    blind: Latch = Latch()
    """On while a required reading is silent."""


State = Mapping[str, Watch]
"""By the rule's reading; start with none."""

NOTHING: State = {}


def step(
    rules: Sequence[Rule],
    state: State,
    readings: Sample,
    now: float,
    dwell_s: float = DWELL_S,
    shaped: Sequence[Limits] = (),
) -> tuple[State, Limits]:
    """The next state and what may run now; `now` in seconds, never less than at the call before.

    `shaped` is what the forecasts ask for beside the bands.
    """
    after: dict[str, Watch] = {}
    active = list(shaped)
    for rule in rules:
        before = state.get(rule.reading) or Watch((Latch(),) * len(rule.steps))
        watch = _watch(rule, before, readings.get(rule.reading), now, dwell_s)
        after[rule.reading] = watch
        if (allowed := _allowed(rule, watch)) is not None:
            active.append(allowed)
    if not active:
        return after, UNCONSTRAINED
    active.sort(key=_severity)
    also = "".join(f"; also {one.cause} {one.band}" for one in active[1:])
    limits = tightest(active)
    return after, msgspec.structs.replace(limits, reason=limits.reason + also)


def level(rule: Rule, watch: Watch) -> int:
    """0 where the rule limits nothing, up to 3."""
    reached = max(
        (s.level for s, latch in zip(rule.steps, watch.latches, strict=True) if latch.on), default=0
    )
    if not watch.blind.on:
        return reached
    return next((s.level for s in rule.steps if s.level > reached), reached)


def bands(rules: Sequence[Rule], state: State) -> dict[str, str]:
    """The worst band of each cause that is in one, whichever of them decides."""
    reached = [(level(rule, state[rule.reading]), rule) for rule in rules if rule.reading in state]
    found: dict[str, str] = {}
    for worst, rule in sorted(reached, key=lambda pair: pair[0]):
        if worst:
            found[rule.cause] = next(each.band for each in rule.steps if each.level == worst)
    return found


def _watch(rule: Rule, before: Watch, reading: Reading | None, now: float, dwell_s: float) -> Watch:
    value = reading.value if reading is not None else None
    if value is None:
        silent = before.silent + 1 if before.heard else 0
        blind = before.blind
        if blind.on or (rule.required and silent >= SILENT_SAMPLES):
            blind = Latch(on=True)
        waiting = tuple(latch._replace(calm_since_s=None) for latch in before.latches)
        return Watch(waiting, before.heard, silent, blind)
    latches = tuple(
        _latch(each, latch, value, now, dwell_s, falling=rule.falling)
        for each, latch in zip(rule.steps, before.latches, strict=True)
    )
    return Watch(latches, heard=True, silent=0, blind=_cool(before.blind, now, dwell_s))


def _latch(each: Step, latch: Latch, value: float, now: float, dwell_s: float, *, falling: bool) -> Latch:
    entered, left = (
        (value <= each.enter, value >= each.leave) if falling else (value >= each.enter, value <= each.leave)
    )
    if entered:
        return Latch(on=True, at_value=latch.at_value if latch.on else value)
    return _cool(latch, now, dwell_s) if left else latch._replace(calm_since_s=None)


def _cool(latch: Latch, now: float, dwell_s: float) -> Latch:
    """One more moment beyond `leave`."""
    if not latch.on:
        return latch
    since = now if latch.calm_since_s is None else latch.calm_since_s
    return Latch() if now - since >= dwell_s else latch._replace(calm_since_s=since)


def _allowed(rule: Rule, watch: Watch) -> Limits | None:
    reached = level(rule, watch)
    if not reached:
        return None
    each, latch = next(
        pair for pair in zip(rule.steps, watch.latches, strict=True) if pair[0].level == reached
    )
    allowed = ALLOWED[rule.cause][reached]
    if watch.blind.on:
        allowed = msgspec.structs.replace(allowed, duty=min(BLIND_DUTY, allowed.duty or BLIND_DUTY))
    return _with_words(allowed, rule, each, latch, blind=watch.blind.on)


def _with_words(allowed: Limits, rule: Rule, each: Step, latch: Latch, *, blind: bool) -> Limits:
    """The words depend on the state alone, so that equal limits stay equal from sample to sample."""
    back = f"back beyond {each.leave:g}{rule.unit} for the dwell time"
    if blind:
        words = f"{each.band}: {rule.reading} is silent, which counts one band up"
    elif rule.steps[-1].enter in {0, 1} and len(rule.steps) == 1:
        words = f"{each.band}: {rule.reading}"
    else:
        relation = "fell to" if rule.falling else "reached"
        words = f"{each.band}: {rule.reading} {relation} {latch.at_value:.4g}{rule.unit}; {back}"
    return msgspec.structs.replace(allowed, reason=words, band=each.band, cause=rule.cause)


def _severity(limits: Limits) -> tuple[int, int, float, int]:
    """The strictest first: it gives the words. The share of the CPU, which moves at every look, has no say in that."""
    rate = limits.rate_hz if limits.rate_hz is not None else float("inf")
    return -limits.priority_floor, limits.concurrency, rate, -limits.variant_floor
