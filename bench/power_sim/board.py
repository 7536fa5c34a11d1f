"""The board: two nodes of heat, a firmware that steps its clock, one CPU with a queue of requests before it.

The heat is `tests/rig/board_heat.py`; the firmware steps its clock as documented (1500, 1000, 750, 600 MHz from 80 to
85 °C); power follows load times clock times voltage squared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edged.errors import Throttled
from edged.inference.gate import Cost, Gate
from edged.limits import Limits
from tests.rig.board_heat import Heat

TICK_S = 0.5
DEADLINE_S = 1.0
TRIP_C = 80.0
VARIANTS = ((0.100, 1.00), (0.045, 0.98), (0.020, 0.93))
"""CPU seconds at full clock and accuracy relative to f32: chosen, near what f32, int8 and a smaller model are."""
CLOCKS = ((85.0, 0.40), (83.5, 0.50), (81.5, 0.667), (TRIP_C, 0.85))
"""raspberrypi/documentation frequency-management: 600, 750, 1000 of 1500 MHz between 80 and 85 °C; steps fitted."""
CLOCK_HYSTERESIS_K = 1.5
VOLTAGE_SLOPE = 0.35  # 0.86 V at 600 MHz to 1.1 V at 1500 MHz, about linear: fitted
CRITICAL, USUAL, LOWEST = 9, 5, 0


@dataclass
class Act:
    """What a policy allows until its next look: a share of the CPU, or what edged's own gate makes of `Limits`."""

    duty: float = 1.0
    variant: int = 0
    limits: Limits | None = None


class Load(NamedTuple):
    """Requests a second at a time, and the share of them that has the highest and the lowest priority."""

    name: str
    hz: Callable[[float], float]
    critical: float = 0.0
    lowest: float = 0.0


class Waiting(NamedTuple):
    """A request in the queue."""

    deadline_s: float
    priority: int
    variant: int
    """Chosen when it was admitted; what a policy without a gate allows is chosen when it runs."""


@dataclass
class Tally:
    """Requests of one priority."""

    asked: int = 0
    on_time: int = 0

    @property
    def percent(self) -> float:
        """How many were answered on time."""
        return 100 * self.on_time / self.asked if self.asked else 100.0


@dataclass
class Counted:
    """What one run gave."""

    answers: float = 0.0
    """On time, weighted by accuracy."""
    plain: int = 0
    """On time, by f32."""
    by_priority: dict[int, Tally] = field(default_factory=dict)
    hot_s: float = 0.0
    seconds: float = 0.0
    peak_c: float = 0.0

    def tally(self, priority: int) -> Tally:
        """The requests of a priority."""
        return self.by_priority.setdefault(priority, Tally())


@dataclass
class Board:
    """The CPU with its queue and its firmware; `fifo` serves who came first, else the highest priority."""

    heat: Heat
    dice: random.Random
    variants: Sequence[tuple[float, float]] = VARIANTS
    fifo: bool = False
    clock: float = 1.0
    queue: list[Waiting] = field(default_factory=list)
    owed_s: float = 0.0
    gate: Gate = field(default_factory=Gate)

    def tick(self, now: float, act: Act, load: Load, counted: Counted) -> float:
        """Half a second; gives the load that it was."""
        for at_s in self._arrivals(now, load.hz(now)):
            self._arrive(at_s, act, load, counted)
        busy = self._serve(now, act, counted)
        self._firmware()
        self.heat.run(TICK_S, busy * self.clock * (1 - VOLTAGE_SLOPE * (1 - self.clock)) ** 2)
        counted.seconds += TICK_S
        counted.hot_s += TICK_S * (self.heat.die_c >= TRIP_C)
        counted.peak_c = max(counted.peak_c, self.heat.die_c)
        return busy

    def _arrivals(self, now: float, hz: float) -> list[float]:
        at_s, found = now, list[float]()
        while hz > 0 and (at_s := at_s + self.dice.expovariate(hz)) < now + TICK_S:
            found.append(at_s)
        return found

    def _arrive(self, now: float, act: Act, load: Load, counted: Counted) -> None:
        kind = self.dice.random()
        priority = CRITICAL if kind < load.critical else LOWEST if kind > 1 - load.lowest else USUAL
        counted.tally(priority).asked += 1
        if act.limits is None:
            self.queue.append(Waiting(now + DEADLINE_S, priority, -1))
            return
        variant = min(act.limits.variant_floor, len(self.variants) - 1)
        cost_s = self.variants[variant][0] / self.clock
        ahead = sum(item.priority >= priority for item in self.queue)
        try:
            self.gate.admit(act.limits, priority, ahead, Cost(cost_s, cost_s), now)
        except Throttled:
            return  # who is refused does not come back: a client that waits as told would do better
        self.queue.append(Waiting(now + DEADLINE_S, priority, variant))

    def _serve(self, now: float, act: Act, counted: Counted) -> float:
        """In order of the queue, as much as fits; what could not be in time any more when its turn comes is dropped."""
        room_s = min(1.0, act.duty) * TICK_S - self.owed_s
        spent_s = 0.0
        if not self.fifo:
            self.queue.sort(key=lambda item: (-item.priority, item.deadline_s))
        while self.queue and spent_s < room_s:
            deadline_s, priority, variant = self.queue.pop(0)
            variant = min(act.variant, len(self.variants) - 1) if variant < 0 else variant
            cost_s, accuracy = self.variants[variant]
            cost_s /= self.clock
            if now + spent_s + cost_s > deadline_s:
                continue
            spent_s += cost_s
            counted.answers += accuracy
            counted.plain += variant == 0
            counted.tally(priority).on_time += 1
        self.owed_s = max(0.0, spent_s - room_s)
        return min(1.0, spent_s / TICK_S)

    def _firmware(self) -> None:
        die_c = self.heat.die_c
        wanted = next((clock for at_c, clock in CLOCKS if die_c >= at_c), 1.0)
        if wanted < self.clock or die_c < TRIP_C - CLOCK_HYSTERESIS_K:
            self.clock = wanted


def boards(seed: int) -> list[float]:
    """How far each figure of a seed's board is off: seed 0 is the Pi 4, every other one up to 30 % from it."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [dice.uniform(0.7, 1.3) for _ in range(4)] if seed else [1.0] * 4


def board(seed: int, ambient_c: float, ladder: int, *, fifo: bool = False) -> Board:
    """The board of a seed, with so many variants."""
    off = boards(seed)
    heat = Heat(ambient_c, 3.5 * off[0], 8.0 * off[1], 6.5 * off[2], 155.0 * off[3])
    dice = random.Random(f"requests {seed}")  # noqa: S311 - likewise
    return Board(heat, dice, VARIANTS[:ladder], fifo)
