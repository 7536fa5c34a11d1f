"""Ten models of 28 MB each in a budget of 256 MB, asked for by a Zipf and by a uniform load.

`python -m bench.memory_zoo [--seconds N] [--hz N]`. The scheduler, library and interpreter are the daemon's own, in one
process. A caller that is refused comes back when it was told to; a call's time is from its first attempt to its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import psutil

from bench.power_sim.table import Row, markdown
from edged.errors import Refused
from edged.inference.config import InferenceConfig, MiB
from edged.inference.models.library import Library
from tests.rig import room
from tests.rig.room import Room
from tests.rig.tflite import Builder

MODELS, MODEL_MB, BUDGET_MB = 10, 28, 256
INPUTS, OUTPUTS = 16, 64
LOADS: Mapping[str, list[float]] = {
    "Zipf": [1 / rank for rank in range(1, MODELS + 1)],
    "uniform": [1.0] * MODELS,
}
SHARE_MAX, WAIT_MAX_S = 0.05, 60.0


@dataclass
class Seen:
    """What came of a load."""

    took_s: list[float] = field(default_factory=list)
    refused: int = 0
    most_rss: int = 0
    slowest_s: dict[str, float] = field(default_factory=dict)

    def answered(self, model: str, took_s: float) -> None:
        """Count an answer."""
        self.took_s.append(took_s)
        self.slowest_s[model] = max(took_s, self.slowest_s.get(model, 0.0))
        self.most_rss = max(self.most_rss, psutil.Process().memory_info().rss)


def large(seed: int) -> bytes:
    """A model of 28 MB: few numbers in, a wide layer, few numbers out."""
    dice = np.random.default_rng(seed)
    width = MODEL_MB * 1_000_000 // 4 // (INPUTS + OUTPUTS)
    build = Builder()
    x, wide, y = (
        build.tensor(name, (1, size)) for name, size in (("x", INPUTS), ("w", width), ("y", OUTPUTS))
    )
    build.fully_connected(x, dice.normal(size=(width, INPUTS)), np.zeros(width), wide)
    build.fully_connected(wide, dice.normal(size=(OUTPUTS, width)), np.zeros(OUTPUTS), y)
    return build.finish([x], [y])


def zoo(root: Path) -> Library:
    """Ten of them, installed and serving."""
    models = room.library(root)
    for index in range(MODELS):
        room.install_file(models, f"model{index}", large(index), INPUTS)
    return models


async def one(here: Room, model: str, seen: Seen) -> None:
    """One caller, until it is answered."""
    began = monotonic()
    while True:
        try:
            await here.ask(model, [1.0] * INPUTS)
        except Refused as exc:
            seen.refused += 1
            await asyncio.sleep(exc.retry_after_s)
        else:
            seen.answered(model, monotonic() - began)
            return


async def under(models: Library, weights: list[float], hz: float, seconds: float) -> Row:
    """The figures of one load."""
    dice, seen = random.Random(1), Seen()  # noqa: S311 - repeatable, not secret
    names = [f"model{index}" for index in range(MODELS)]
    config = InferenceConfig(memory_budget_bytes=BUDGET_MB * MiB)
    async with room.opened(models, config) as here:
        began = monotonic()
        async with asyncio.TaskGroup() as group:
            while monotonic() - began < seconds:
                group.create_task(one(here, dice.choices(names, weights)[0], seen))
                await asyncio.sleep(dice.expovariate(hz))
        took_s, loading_s = monotonic() - began, here.scheduler.status().loading_s
    ranked = sorted(seen.took_s)
    at = [ranked[int(share * (len(ranked) - 1))] for share in (0.5, 0.99, 1.0)]
    met = loading_s <= SHARE_MAX * took_s and at[2] <= WAIT_MAX_S and len(seen.slowest_s) == MODELS
    return [
        str(len(ranked)), f"{100 * loading_s / took_s:.1f}", f"{1000 * at[0]:.1f}", f"{at[1]:.2f}", f"{at[2]:.1f}",
        str(len(seen.slowest_s)), str(seen.refused), f"{seen.most_rss / MiB:.0f}", "yes" if met else "no",
    ]  # fmt: skip


COLUMNS = (
    "load", "answers", "loading, % of the time", "p50 ms", "p99 s", "slowest s", "models served", "told to wait",
    "RSS at most MiB", "as aimed",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory_zoo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--hz", type=float, default=10.0, help="calls a second, over all models (default 10)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edged-zoo-") as work:
        models = zoo(Path(work))
        print(markdown(COLUMNS, []), flush=True)
        for name, weights in LOADS.items():
            row = [name, *asyncio.run(under(models, weights, arguments.hz, arguments.seconds))]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
