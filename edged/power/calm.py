"""When to look again: seldom while nothing is near a band, often else. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edged.power.bands import Cause, Rule
from edged.power.governor import State, level
from edged.power.readings import Sample, value

MARGINS: Mapping[Cause, float] = {"heat": 9.0, "battery": 3.0, "memory": 8.0}
"""How close counts as near, in the reading's unit.

A Pi 4's die (3.5 K/W and 8 s, `docs/decisions/0070-power.md`) rises 7 K in the first 5 s of a full load.
"""


def calm(rules: Sequence[Rule], state: State, sample: Sample) -> bool:
    """Whether the next look may wait: no band is on, none is near, and nothing that was heard is silent."""
    return not any(_alert(rule, state, sample) for rule in rules)


def _alert(rule: Rule, state: State, sample: Sample) -> bool:
    watch = state.get(rule.reading)
    if watch is None or not watch.heard:
        return False
    now = value(sample, rule.reading)
    if level(rule, watch) or (rule.required and now is None):
        return True
    if now is None:
        return False
    first = rule.steps[0].enter
    return (now - first if rule.falling else first - now) < MARGINS.get(rule.cause, 1.0)
