"""Hostile model files against a process that treats models as the daemon does; it must outlive all of them.

    python -m tests.chaos.models --seed 1 --runs 1100 [--runtime litert] [--workers 2]

Of eleven files six are corrupted and five are well formed but lie. Each comes with its own true SHA-256, so that the
pre-flight decides; those admitted are loaded and invoked ten times. A failure is a death of the process, or a
healthy model that no longer answers as before. The same seed and run make the same file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.rig.hostile import bases, corrupted, dense, structural
from tests.rig.modelhost import Died, ModelHost, model_host

MEMORY = "/dev/shm"  # noqa: S108 - crashes are looked for here, not power cuts: no need to wait for a disk
FAILURES = ("died", "damaged")
CYCLE = ("corrupted",) * 6 + ("structural",) * 5


class Result(NamedTuple):
    """One file's fate: refused, ran, raised (admitted, then a named error), died or damaged."""

    run: int
    kind: str
    fate: str
    said: str


def case(seed: int, run: int, models: list[bytes], kind: str | None = None) -> tuple[str, bytes]:
    """The kind and content of one file."""
    random = Random(f"{seed}/{run}")  # noqa: S311 - repeatable, not secret
    kind = kind or CYCLE[run % len(CYCLE)]
    return kind, corrupted(random, models) if kind == "corrupted" else structural(random, models)


def storm(
    seed: int, runs: range, directory: Path, runtime: str = "litert", kind: str | None = None
) -> Iterator[Result]:
    """Every run's result; a host that died is replaced."""
    models, started = bases(), 0
    with ExitStack() as stack:
        host: ModelHost | None = None
        for run in runs:
            if host is None:
                started += 1
                root = directory / f"{runs.start}-{started}"
                host = stack.enter_context(model_host(root, dense(), runtime))
            made, content = case(seed, run, models, kind)
            outcome = host.submit(content)
            if isinstance(outcome, Died):
                host = None
                yield Result(run, made, "died", f"status {outcome.status}: {outcome.stderr}")
            elif not outcome.healthy:
                yield Result(run, made, "damaged", outcome.said)
            else:
                fate = "refused" if not outcome.admitted else "raised" if outcome.said else "ran"
                yield Result(run, made, fate, outcome.said)


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def watched(results: Iterable[Result]) -> Counter[tuple[str, str]]:
    """Every fate, counted; failures are told as they happen."""
    fates = Counter[tuple[str, str]]()
    for result in results:
        fates[result.kind, result.fate] += 1
        if result.fate in FAILURES:
            say(f"run {result.run} ({result.kind}) {result.fate}: {result.said}")
    return fates


def main() -> int:
    """Run the storm, print what happened, and the verdict on the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1100)
    parser.add_argument("--first", type=int, default=0, help="run to begin with, to repeat a failure")
    parser.add_argument("--runtime", choices=("litert", "tflite"), default="litert")
    parser.add_argument("--kind", choices=("corrupted", "structural"), help="only these")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    end = options.first + options.runs
    parts = [range(options.first + worker, end, options.workers) for worker in range(options.workers)]
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory, ThreadPoolExecutor(options.workers) as pool:
        work = [
            pool.submit(watched, storm(options.seed, part, Path(directory), options.runtime, options.kind))
            for part in parts
        ]
        fates = sum((task.result() for task in work), Counter[tuple[str, str]]())
    failures = sum(count for (_, fate), count in fates.items() if fate in FAILURES)
    for (kind, fate), count in sorted(fates.items()):
        say(f"{kind:<12}{fate:<10}{count:>6}")
    say(f"models: {options.runs} runs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
