"""Heat: how much gets done, and how hot the board gets, in a cool room, a hot one, and one that warms up."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from statistics import fmean
from typing import NamedTuple

from bench.power_sim.board import CRITICAL, TICK_S, Counted, Load, board
from bench.power_sim.policies import LOOK_S, PI, Bands, Cap, Edged, OnOff, Policy, Seen
from bench.power_sim.table import Row, interval, parallel
from tests.rig.board_heat import sensed

LOADS = {
    load.name: load
    for load in (
        Load("saturating", lambda _: 60.0),
        Load("bursty", lambda now: 40.0 if int(now / 90) % 3 == 0 else 2.0),
        Load("mixed", lambda _: 40.0, critical=0.02),
    )
}
AMBIENTS: Mapping[str, Callable[[float], float]] = {
    "25": lambda _: 25.0,
    "45": lambda _: 45.0,
    "25->50": lambda share: 25.0 + 25.0 * share,
}
WORST = "25->50"
"""The day for which a careful owner would choose one fixed cap."""
HOT_SHARE = 0.001
"""Of the time at or above 80 °C: what a policy is allowed in a search."""
FIRST_COME, CAREFUL, ORACLE = "firmware only, first come", "cap for 25->50", "cap, oracle"
Controller = OnOff | PI
TRAINING = (1001, 1002, 1003)
"""Seeds on which baselines are tuned; the table has others."""


class Day(NamedTuple):
    """One run's circumstances."""

    load: str
    ambient: str
    seed: int
    minutes: float
    ladder: int = 1


def run(policy: Policy, day: Day, *, fifo: bool = False) -> Counted:
    """One run; the same seed gives every policy the same board and the same requests."""
    noise = random.Random(f"noise {day.seed}")  # noqa: S311 - repeatable, not secret
    ambient, load = AMBIENTS[day.ambient], LOADS[day.load]
    made, counted = board(day.seed, ambient(0.0), day.ladder, fifo=fifo), Counted()
    now, busy, seconds = 0.0, 0.0, day.minutes * 60
    while now < seconds:
        made.heat.ambient_c = ambient(now / seconds)
        act = policy.look(Seen(now, sensed(made.heat.die_c, noise), busy))
        busy = fmean(
            made.tick(now + tick * TICK_S, act, load, counted) for tick in range(int(LOOK_S / TICK_S))
        )
        now += LOOK_S
    return counted


@cache
def fixed_cap(load: str, ambient: str, seed: int, minutes: float) -> float:
    """The largest fixed share that spends at most a thousandth of the time at the trip: the oracle."""
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = (low + high) / 2
        counted = run(Cap(middle), Day(load, ambient, seed, minutes))
        low, high = (middle, high) if counted.hot_s <= HOT_SHARE * counted.seconds else (low, middle)
    return low


def tuned(minutes: float) -> dict[str, Controller]:
    """The on/off and the PI controller that do most on the training days without getting hot."""
    switches = [
        OnOff(stop, below)
        for stop, below in product((74.0, 75.0, 76.0, 77.0, 78.0), (0.5, 1.0, 2.0, 4.0, 8.0))
    ]
    loops = [
        PI(at, gain, seconds)
        for at, gain, seconds in product(
            (76.0, 77.0, 78.0, 78.5, 79.0), (0.02, 0.05, 0.1, 0.2), (15.0, 40.0, 100.0)
        )
    ]
    return {"on/off, tuned": _best(switches, minutes), "PI, tuned": _best(loops, minutes)}


def _best(candidates: Sequence[Controller], minutes: float) -> Controller:
    worth = parallel(_worth, [(candidate, minutes) for candidate in candidates])
    return candidates[worth.index(max(worth))]


def _worth(job: tuple[Controller, float]) -> float:
    """What it does on all training days; less than nothing where one of them gets hot."""
    candidate, minutes = job
    work = 0.0
    for load, ambient, seed in product(("saturating", "bursty"), AMBIENTS, TRAINING):
        counted = run(replace(candidate), Day(load, ambient, seed, minutes))
        if counted.hot_s > HOT_SHARE * counted.seconds:
            return -counted.hot_s
        work += counted.answers
    return work


def _one(job: tuple[Day, dict[str, Controller]]) -> dict[str, Counted]:
    day, chosen = job
    worst, oracle = (Cap(fixed_cap(day.load, a, day.seed, day.minutes)) for a in (WORST, day.ambient))
    policies: dict[str, Policy] = {
        FIRST_COME: Cap(),
        "firmware only, by priority": Cap(),
        CAREFUL: worst,
        **{name: replace(policy) for name, policy in chosen.items()},
        "bands alone": Bands(),
        "edged": Edged(),
    }
    found = {name: run(policy, day, fifo=name == FIRST_COME) for name, policy in policies.items()}
    # the yardstick of both tables: f32 alone
    return {ORACLE: run(oracle, day._replace(ladder=1)), **found}


COLUMNS = (
    "load", "ambient °C", "policy", "work / oracle", "work / cap for 25->50", "max % >= 80 °C", "peak °C",
    "critical on time %",
)  # fmt: skip


def table(seeds: Sequence[int], minutes: float, ladder: int) -> tuple[Sequence[str], list[Row], str]:
    """Columns, a row a load, ambient and policy, and what was tuned to what."""
    chosen = tuned(minutes)
    days = [Day(load, a, seed, minutes, ladder) for load in LOADS for seed in seeds for a in AMBIENTS]
    found = dict(zip(days, parallel(_one, [(day, chosen) for day in days], len(AMBIENTS)), strict=True))
    rows = []
    for load, ambient in product(LOADS, AMBIENTS):
        runs = [found[day] for day in days if (day.load, day.ambient) == (load, ambient)]
        rows += [[load, ambient, name, *_row(name, runs)] for name in runs[0]]
    return COLUMNS, rows, "; ".join(f"{name}: {policy}" for name, policy in chosen.items())


def _row(name: str, runs: Sequence[Mapping[str, Counted]]) -> list[str]:
    ours = [one[name] for one in runs]

    def against(other: str) -> str:
        return interval([one[name].answers / max(1.0, one[other].answers) for one in runs])

    critical = [counted.tally(CRITICAL) for counted in ours]
    return [
        against(ORACLE),
        against(CAREFUL),
        f"{max(100 * counted.hot_s / counted.seconds for counted in ours):.2f}",
        f"{max(counted.peak_c for counted in ours):.1f}",
        interval([tally.percent for tally in critical]) if critical[0].asked else "-",
    ]
