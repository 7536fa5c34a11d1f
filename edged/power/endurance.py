"""How much of the CPU inference may take, so that the battery lasts as long as its owner says. Pure.

What the board draws follows its profile: idle, and more with the load. How many percent of the gauge that is, is
learned at the moments when the gauge steps, for only then is it exact. What is left, by the time that is left, is
the power that may be drawn; asked again at every look, so that a wrong profile only costs a detour.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from edged.power.readings import Sample, value

IDLE_W, LOAD_W = 2.5, 6.5
"""Where the profile says nothing: about a Raspberry Pi; only their ratio counts."""
LEAST_STEP_PCT = 0.5
"""Gauges with finer steps count as if they had these."""
RISE_PCT = 2.0
"""A gauge that rises by so much is of a battery that was charged."""
FALL_PCT = 3.0
"""So much must have gone before anything is said."""
WINDOW_PCT = 25.0
"""The gauge's last so many percent say what a percent is: none is a straight line from full to empty."""
KEEP_PCT = 1.0
"""What is to be left at the end: gauges are least to be trusted there."""


class Draw(NamedTuple):
    """What a board draws, W; only their ratio counts."""

    idle_w: float = IDLE_W
    load_w: float = LOAD_W


USUAL = Draw()


class Endurance:
    """`look` at every sample, then ask `load`; for a battery that has to last `hours` from full, else in proportion."""

    def __init__(self, hours: float, draw: Draw = USUAL) -> None:
        self._seconds, self._draw = hours * 3600, draw
        self._ends_s: float | None = None
        self._looked_s = 0.0
        self._spent_j = 0.0
        self._steps: deque[tuple[float, float]] = deque()
        self._percent = 0.0

    def look(self, sample: Sample, now: float) -> None:
        """Learn from one sample; on mains nothing is planned."""
        percent, busy = value(sample, "battery.percent"), value(sample, "cpu.busy")
        if value(sample, "battery.mains") == 1.0:
            self._ends_s = None
            return
        if percent is None:
            return
        if self._begins(sample, percent):
            self._begin(percent, now)
        share = min(1.0, max(0.0, (busy if busy is not None else 100.0) / 100))
        watts = self._draw.idle_w + share * (self._draw.load_w - self._draw.idle_w)
        self._spent_j += watts * (now - self._looked_s)
        self._looked_s = now
        if percent <= self._percent - LEAST_STEP_PCT:
            self._percent = percent
            self._steps.append((self._spent_j, percent))
            while self._steps[0][1] - percent > WINDOW_PCT:
                self._steps.popleft()

    def planned(self, now: float) -> bool:
        """Whether the battery is in use and its time is not over."""
        return self._ends_s is not None and now < self._ends_s

    def load(self, now: float) -> float | None:
        """The load that the battery bears to the end, of all programs together, unbounded; None while not known."""
        if self._ends_s is None or now >= self._ends_s or not self._steps:
            return None
        (first_j, first), (last_j, last) = self._steps[0], self._steps[-1]
        if first - last < FALL_PCT:
            return None
        pct_per_j = (first - last) / (last_j - first_j)
        left_pct = last - pct_per_j * (self._spent_j - last_j) - KEEP_PCT
        watts = left_pct / pct_per_j / (self._ends_s - now)
        return (watts - self._draw.idle_w) / (self._draw.load_w - self._draw.idle_w)

    def _begins(self, sample: Sample, percent: float) -> bool:
        """Whether its time starts now: unplugged, charged meanwhile, or mains is unknown and it does not fall."""
        if self._ends_s is None or percent >= self._percent + RISE_PCT:
            return True
        unknown = value(sample, "battery.mains") is None
        return unknown and not self._steps and percent > self._percent - LEAST_STEP_PCT

    def _begin(self, percent: float, now: float) -> None:
        self._ends_s = now + self._seconds * percent / 100
        self._looked_s, self._spent_j, self._percent = now, 0.0, percent
        self._steps.clear()
