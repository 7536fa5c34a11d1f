"""Print the tables of bench/results/power.md."""

from __future__ import annotations

import argparse

from bench import power_sim
from bench.power_sim import battery, heat
from bench.power_sim.board import VARIANTS
from bench.power_sim.table import markdown

HELD_OUT = 101
"""The policy's constants were chosen on seeds below 100, the baselines' on those from 1001."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.power_sim", description=power_sim.__doc__)
    parser.add_argument("what", nargs="?", choices=("heat", "battery"), default="heat")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=HELD_OUT, help=f"the first seed (default {HELD_OUT})")
    parser.add_argument("--minutes", type=float, default=30.0, help="of each day of heat (default 30)")
    parser.add_argument("--f32", action="store_true", help="no cheaper variants to fall back to")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    ladder = 1 if arguments.f32 else len(VARIANTS)
    if arguments.what == "heat":
        columns, rows, tuned = heat.table(seeds, arguments.minutes, ladder)
    else:
        columns, rows, tuned = battery.table(seeds, ladder)
    print(markdown(columns, rows))
    print(f"\nTuned: {tuned}")


if __name__ == "__main__":
    main()
