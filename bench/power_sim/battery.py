"""Battery: whether it lasts as long as its owner says, and who is served through it, under a mixed load.

A pack that lasts 2.4 h at full load and 7.1 h idle has to last 4 h. Its gauge steps by whole percents and is bent in
the middle; every seed's pack and draw are off by up to 15 %. Our policy knows the profile's watts, which are not the
board's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import pi, sin
from statistics import fmean
from typing import TypeVar

from bench.power_sim.board import CRITICAL, LOWEST, TICK_S, Act, Board, Counted, Load, Tally, board
from bench.power_sim.policies import LEAST, LOOK_S, Cap, Edged, Policy, Seen
from bench.power_sim.table import Row, interval, parallel
from edged.limits import UNCONSTRAINED, Limits
from edged.power.bands import BATTERY, Rule
from edged.power.endurance import Draw, Endurance
from edged.power.governor import NOTHING, State, level, step
from tests.rig.board_heat import sensed

C = TypeVar("C", "Reserve", "Planned")

HOURS = 4.0
PACK_WH = 15.0
PROFILE = Draw(3.06, 6.12)
"""hardware/raspberry-pi-4.toml; the simulated board draws 2.1 to 6.4 W."""
BEND_PCT = 3.0
LOAD = Load("mixed", lambda now: 5.5 if int(now / 300) % 2 else 9.0, critical=0.1, lowest=0.5)
"""0.55 and 0.9 of the CPU with f32; a tenth is critical, half has the lowest priority."""
TRAINING = (1001, 1002, 1003)
QUARTERS = 4


@dataclass
class Lasted:
    """What one run gave."""

    hours: float
    counted: Counted
    lowest_pct: list[float]
    """Of the lowest priority, on time in each quarter of the stated hours."""
    critical_pct: float
    """On time within the stated hours, those included that it was too empty for."""

    @property
    def reached(self) -> bool:
        """Whether it lasted as stated."""
        return self.hours >= HOURS


@dataclass
class Reserve:
    """Everything until so many percent are left, then nearly nothing: a tuned on/off."""

    percent: float

    def look(self, seen: Seen) -> Act:
        """Switch once."""
        return Act(duty=1.0 if (seen.percent or 0.0) > self.percent else LEAST)


@dataclass
class Planned:
    """A PI controller on how far the gauge is from a straight line to empty."""

    gain: float
    seconds: float
    integral: float = 0.5

    def look(self, seen: Seen) -> Act:
        """What the error asks for."""
        error = (seen.percent or 0.0) - 100 * (1 - seen.now / (HOURS * 3600))
        self.integral = min(1.0, max(0.0, self.integral + self.gain * error * LOOK_S / self.seconds))
        return Act(duty=min(1.0, max(LEAST, self.integral + self.gain * error)))


BAND_LIMITS = (
    UNCONSTRAINED,
    Limits(concurrency=16, variant_floor=1),
    Limits(concurrency=4, rate_hz=2.0, variant_floor=2, priority_floor=3),
    Limits(concurrency=1, rate_hz=0.5, variant_floor=9, priority_floor=9),
)


@dataclass
class Bands:
    """Steps by charge alone."""

    state: State = field(default_factory=dict)

    def look(self, seen: Seen) -> Act:
        """The limits of the lowest band that is on."""
        rule = Rule("battery.reserve", "battery", BATTERY, falling=True)
        self.state, _ = step([rule], self.state or NOTHING, seen.sample(), seen.now)
        return Act(limits=BAND_LIMITS[level(rule, self.state[rule.reading])])


def run(policy: Policy, seed: int, *, ladder: int = 1, fifo: bool = False) -> Lasted:
    """Until the battery is empty, or a quarter longer than it has to last."""
    dice, noise = random.Random(f"pack {seed}"), random.Random(f"noise {seed}")  # noqa: S311 - repeatable, not secret
    made, counted = board(0, 25.0, ladder, fifo=fifo), Counted()
    made.dice = random.Random(f"requests {seed}")  # noqa: S311 - likewise
    off = [dice.uniform(0.85, 1.15) if seed else 1.0 for _ in range(3)]
    made.heat.idle_w, made.heat.full_w = made.heat.idle_w * off[0], made.heat.full_w * off[1]
    pack_j = left_j = PACK_WH * off[2] * 3600
    now, busy, quarters = 0.0, 0.0, list[float]()
    asked = on_time = 0
    critical = Tally()
    while left_j > 0 and now < HOURS * 3600 * 1.25:
        act = policy.look(Seen(now, sensed(made.heat.die_c, noise), busy, gauge(100 * left_j / pack_j)))
        busy = fmean(made.tick(now + at * TICK_S, act, LOAD, counted) for at in range(int(LOOK_S / TICK_S)))
        left_j -= LOOK_S * _watts(made, busy)
        now += LOOK_S
        if now >= HOURS * 3600 / QUARTERS * (len(quarters) + 1) and len(quarters) < QUARTERS:
            tally = counted.tally(LOWEST)
            quarters.append(100 * (tally.on_time - on_time) / max(1, tally.asked - asked))
            asked, on_time = tally.asked, tally.on_time
        if now <= HOURS * 3600:
            critical = replace(counted.tally(CRITICAL))
    quarters += [0.0] * (QUARTERS - len(quarters))
    return Lasted(now / 3600, counted, quarters, critical.percent * min(1.0, now / 3600 / HOURS))


def gauge(percent: float) -> float:
    """What the pack's gauge says."""
    return float(round(percent - BEND_PCT * sin(pi * percent / 100)))


def _watts(made: Board, busy: float) -> float:
    return made.heat.idle_w + (made.heat.full_w - made.heat.idle_w) * busy


@cache
def fixed_cap(seed: int) -> float:
    """The largest fixed share with which this very pack lasts: the oracle."""
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if run(Cap(middle), seed).reached else (low, middle)
    return low


def _tuned(candidates: Sequence[C]) -> C:
    """Of those that last on every training pack the one that does most; else the one that lasts longest."""
    worth = parallel(_worth, candidates)
    return candidates[worth.index(max(worth))]


def _worth(candidate: Reserve | Planned) -> tuple[bool, float]:
    runs = [run(replace(candidate), seed) for seed in TRAINING]
    if not all(one.reached for one in runs):
        return False, min(one.hours for one in runs)
    return True, sum(one.counted.answers for one in runs)


def _one(job: tuple[int, int, float, Reserve, Planned]) -> dict[str, Lasted]:
    seed, ladder, worst, reserve, planned = job
    policies: dict[str, tuple[Policy, bool]] = {
        "firmware only, first come": (Cap(), True),
        "firmware only, by priority": (Cap(), False),
        "cap for the worst pack": (Cap(worst), False),
        "cap, oracle": (Cap(fixed_cap(seed)), False),
        "on/off, tuned": (replace(reserve), False),
        "PI on the plan, tuned": (replace(planned), False),
        "bands alone": (Bands(), False),
        "edged": (Edged(Endurance(HOURS, PROFILE)), False),
    }
    found = {name: run(policy, seed, ladder=ladder, fifo=fifo) for name, (policy, fifo) in policies.items()}
    found["cap, oracle"] = run(Cap(fixed_cap(seed)), seed)
    return found


COLUMNS = (
    "policy", "lasted, h (least)", "lasted as stated", "work / oracle", "priority 0 on time, worst quarter %",
    "critical on time %",
)  # fmt: skip


def table(seeds: Sequence[int], ladder: int) -> tuple[Sequence[str], list[Row], str]:
    """Columns, a row a policy, and what was tuned to what."""
    worst = min(parallel(fixed_cap, [*TRAINING, *seeds]))
    reserve = _tuned([Reserve(percent) for percent in (20.0, 40.0, 50.0, 60.0, 70.0)])
    planned = _tuned([Planned(gain, seconds) for gain in (0.05, 0.1, 0.3) for seconds in (300.0, 1200.0)])
    runs = parallel(_one, [(seed, ladder, worst, reserve, planned) for seed in seeds])
    rows = [
        [name, *_row([one[name] for one in runs], [one["cap, oracle"] for one in runs])] for name in runs[0]
    ]
    return COLUMNS, rows, f"on/off: {reserve}; PI: {planned}; worst pack: {worst:.2f} of the CPU"


def _row(ours: Sequence[Lasted], oracles: Sequence[Lasted]) -> list[str]:
    work = [a.counted.answers / b.counted.answers for a, b in zip(ours, oracles, strict=True)]
    return [
        f"{min(one.hours for one in ours):.2f}",
        f"{sum(one.reached for one in ours)} of {len(ours)}",
        interval(work),
        interval([min(one.lowest_pct) for one in ours]),
        interval([one.critical_pct for one in ours]),
    ]
