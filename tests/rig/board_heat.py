"""The heat of a board: a die over a board over the room, and the sensor that rounds what it feels.

Figures of a Raspberry Pi 4 without a fan, fitted to published warm-ups: die 3.5 K/W and 8 s, board 6.5 K/W and 155 s,
2.1 W idle and 6.4 W at full load.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

STEP_S = 0.25
QUANTUM_C = 0.487  # bcm2711_thermal: -487 millidegrees a step of its ADC


@dataclass
class Heat:
    """Two nodes; `run` moves them on."""

    ambient_c: float = 25.0
    die_k_per_w: float = 3.5
    die_s: float = 8.0
    board_k_per_w: float = 6.5
    board_s: float = 155.0
    idle_w: float = 2.1
    full_w: float = 6.4
    board_c: float = field(init=False)
    die_c: float = field(init=False)

    def __post_init__(self) -> None:
        self.board_c = self.ambient_c + self.idle_w * self.board_k_per_w
        self.die_c = self.board_c + self.idle_w * self.die_k_per_w

    def run(self, seconds: float, load: float) -> None:
        """Let time pass at a load of 0 to 1."""
        watts = self.idle_w + (self.full_w - self.idle_w) * load
        steps = max(1, round(seconds / STEP_S))
        for _ in range(steps):
            flow = (self.die_c - self.board_c) / self.die_k_per_w
            lost = (self.board_c - self.ambient_c) / self.board_k_per_w
            self.die_c += seconds / steps * (watts - flow) * self.die_k_per_w / self.die_s
            self.board_c += seconds / steps * (flow - lost) * self.board_k_per_w / self.board_s

    def end_c(self, load: float) -> float:
        """Where the die settles."""
        watts = self.idle_w + (self.full_w - self.idle_w) * load
        return self.ambient_c + watts * (self.die_k_per_w + self.board_k_per_w)


def sensed(die_c: float, dice: random.Random) -> float:
    """What the sensor says: a little noise, in steps."""
    return round((die_c + dice.gauss(0, 0.2)) / QUANTUM_C) * QUANTUM_C


def any_board(dice: random.Random) -> Heat:
    """A board whose figures are off by up to 30 % each, in a room of 22 to 45 °C."""
    off = [dice.uniform(0.7, 1.3) for _ in range(4)]
    return Heat(dice.uniform(22, 45), 3.5 * off[0], 8.0 * off[1], 6.5 * off[2], 155.0 * off[3])
