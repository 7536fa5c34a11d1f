"""What the governor owes, worked out from the whole history each time; shares no code with the governor.

Only the tables (`Rule`, `ALLOWED`) are taken from it: they are the promise, this is what keeping it means.
"""

from __future__ import annotations

from collections.abc import Sequence

from edged.limits import UNCONSTRAINED, Limits
from edged.power.bands import ALLOWED, BLIND_DUTY, Rule

Moment = tuple[float, float | None]
"""When, and what the reading was."""


def level(rule: Rule, history: Sequence[Moment], dwell_s: float) -> int:
    """The level a rule has to be at after this history."""
    reached = 0
    for band in rule.steps:
        entries = [i for i, (_, v) in enumerate(history) if v is not None and _bad(rule, v, band.enter)]
        if entries and not _calm_for(rule, history[entries[-1] + 1 :], band.leave, dwell_s):
            reached = max(reached, band.level)
    if rule.required and is_blind(history, dwell_s):
        harder = [band.level for band in rule.steps if band.level > reached]
        reached = min(harder, default=reached)
    return reached


def limits(rules: Sequence[Rule], levels: Sequence[int], *, blind: bool = False) -> Limits:
    """The strictest in every field; words are left as they are by default. `blind` where a required reading is silent."""
    active = [ALLOWED[rule.cause][at] for rule, at in zip(rules, levels, strict=True) if at]
    rates = [one.rate_hz for one in active if one.rate_hz is not None]
    duties = [one.duty for one in active if one.duty is not None]
    duties += [BLIND_DUTY] if blind else []
    threads = [one.threads_max for one in active if one.threads_max is not None]
    return Limits(
        concurrency=min((one.concurrency for one in active), default=UNCONSTRAINED.concurrency),
        rate_hz=min(rates) if rates else None,
        duty=min(duties) if duties else None,
        variant_floor=max((one.variant_floor for one in active), default=0),
        priority_floor=max((one.priority_floor for one in active), default=0),
        telemetry_interval_s=max((one.telemetry_interval_s for one in active), default=10.0),
        updates_allowed=not any(not one.updates_allowed for one in active),
        threads_max=min(threads) if threads else None,
        memory_share=min((one.memory_share for one in active), default=1.0),
    )


def _bad(rule: Rule, reads: float, enter: float) -> bool:
    return reads <= enter if rule.falling else reads >= enter


def _calm_for(rule: Rule, history: Sequence[Moment], leave: float, dwell_s: float) -> bool:
    """Whether some unbroken run of known readings beyond `leave` lasted for the dwell."""
    begin: float | None = None
    for at, reads in history:
        good = reads is not None and (reads >= leave if rule.falling else reads <= leave)
        begin = (at if begin is None else begin) if good else None
        if begin is not None and at - begin >= dwell_s:
            return True
    return False


def is_blind(history: Sequence[Moment], dwell_s: float) -> bool:
    """Whether a required reading, heard before, was silent three times in a row and not heard for the dwell since."""
    heard = next((i for i, (_, reads) in enumerate(history) if reads is not None), len(history))
    runs = 0
    last = -1
    for index in range(heard, len(history)):
        runs = runs + 1 if history[index][1] is None else 0
        if runs >= 3:
            last = index
    if last < 0:
        return False
    begin: float | None = None
    for at, reads in history[last + 1 :]:
        begin = (at if begin is None else begin) if reads is not None else None
        if begin is not None and at - begin >= dwell_s:
            return False
    return True
