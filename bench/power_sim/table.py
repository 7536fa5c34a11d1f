"""Tables of runs: means with their 95 % intervals, as Markdown; and runs on every CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean, stdev
from typing import TypeVar

Row = list[str]
J = TypeVar("J")
R = TypeVar("R")

T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t for two-sided 95 %, by how many values there are; 2 beyond."""


def interval(values: Sequence[float]) -> str:
    """The mean and half its 95 % interval."""
    many = len(values)
    half = T_95.get(many, 2.0) * stdev(values) / many**0.5 if many > 1 else 0.0
    return f"{fmean(values):.2f} ±{half:.2f}"


def parallel(work: Callable[[J], R], jobs: Iterable[J], together: int = 1) -> list[R]:
    """`work` of every job, in order; so many in a row run in one process."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, jobs, chunksize=together))


def markdown(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
