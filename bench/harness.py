"""Interleaved, paired blocks: how anything here is timed.

The vCPUs of a shared machine drift by tens of per cent within seconds, so milliseconds of two contenders
taken minutes apart say little about either. Here a round runs reference, A, reference, B, reference … and the
next round runs backwards; a contender's ratio is its median against the mean of the two reference blocks
around it. A sample during which anybody else used more than `FOREIGN_CORES` is noise, and only counts where
too few are clean.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bench import procfs

FOREIGN_CORES = 0.35  # cores used by neither the bench nor the server under test
PATIENCE = 2  # rounds run at most, for each one wanted
QUIET_S = 5.0  # longest wait for the neighbours to finish, before a round
LOOK_S = 0.25

Load = Callable[[float], list[float]]
"""Runs for about that many seconds and gives the latency of each call, in seconds."""


class Contender(NamedTuple):
    """Something that can be put under load; `pid` is its server's, None where this process does the work."""

    name: str
    load: Load
    pid: int | None = None


class Block(NamedTuple):
    """A contender under load for a moment."""

    calls: int
    p50_s: float
    p99_s: float
    per_s: float
    cpu_s: float
    """Of the server, a call."""
    foreign: float
    """Cores that were busy for somebody else."""


class Sample(NamedTuple):
    """A block and the reference's median around it."""

    block: Block
    reference_s: float
    foreign: float

    @property
    def ratio(self) -> float:
        """Median over the reference's."""
        return self.block.p50_s / self.reference_s

    @property
    def share(self) -> float:
        """Throughput, over that of the reference one after the other."""
        return self.block.per_s * self.reference_s


class Result(NamedTuple):
    """Medians over the clean samples of one contender."""

    p50_s: float
    p99_s: float
    tail: float
    """p99 over p50, a block at a time."""
    per_s: float
    cpu_s: float
    ratio: float
    """p50 over the reference's."""
    ratio_spread: tuple[float, float]
    """The quartiles of `ratio`."""
    share: float
    """Throughput over the reference's."""
    calls: int
    clean: int
    blocks: int


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def block(contender: Contender, seconds: float) -> Block:
    """Put `contender` under load for about `seconds`."""
    own, server, machine = time.process_time(), _server_s(contender), procfs.machine_cpu_s()
    start = time.perf_counter()
    latencies = contender.load(seconds)
    wall = time.perf_counter() - start
    server = _server_s(contender) - server
    foreign = procfs.machine_cpu_s() - machine - server - (time.process_time() - own)
    count = len(latencies)
    return Block(
        calls=count,
        p50_s=statistics.median(latencies),
        p99_s=percentile(latencies, 0.99),
        per_s=count / wall,
        cpu_s=server / count,
        foreign=max(0.0, foreign / wall),
    )


def interleave(
    reference: Contender,
    contenders: Sequence[Contender],
    *,
    seconds: float,
    rounds: int,
    quiet_s: float = QUIET_S,
) -> dict[str, list[Sample]]:
    """Run until every contender has `rounds` clean samples, at most `PATIENCE` times as many rounds.

    Before each round the machine gets `quiet_s` to become quiet.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for contender in (reference, *contenders):
        contender.load(0.05)
    for turn in range(rounds * PATIENCE):
        await_quiet(quiet_s)
        before = block(reference, seconds)
        for contender in contenders if turn % 2 == 0 else contenders[::-1]:
            during = block(contender, seconds)
            after = block(reference, seconds)
            samples[contender.name].append(_paired(before, during, after))
            before = after
        progress(f"{turn + 1} rounds, clean: " + ", ".join(f"{n} {clean(s)}" for n, s in samples.items()))
        if all(clean(taken) >= rounds for taken in samples.values()):
            break
    progress("")
    return samples


def summarise(samples: Sequence[Sample], wanted: int) -> Result:
    """Medians over the clean samples; over the `wanted` quietest where fewer were clean."""
    kept = quietest(samples, wanted)
    blocks = [sample.block for sample in kept]
    ratios = sorted(sample.ratio for sample in kept)
    return Result(
        p50_s=statistics.median(b.p50_s for b in blocks),
        p99_s=statistics.median(b.p99_s for b in blocks),
        tail=statistics.median(b.p99_s / b.p50_s for b in blocks),
        per_s=statistics.median(b.per_s for b in blocks),
        cpu_s=statistics.median(b.cpu_s for b in blocks),
        ratio=statistics.median(ratios),
        ratio_spread=(percentile(ratios, 0.25), percentile(ratios, 0.75)),
        share=statistics.median(sample.share for sample in kept),
        calls=sum(b.calls for b in blocks),
        clean=clean(samples),
        blocks=len(samples),
    )


def speedup(samples: Mapping[str, Sequence[Sample]], of: str, over: str, wanted: int) -> float:
    """How many times faster `of` is than `over`, each against the reference around it; median over rounds."""
    rounds = [
        (max(mine.foreign, theirs.foreign), theirs.ratio / mine.ratio)
        for mine, theirs in zip(samples[of], samples[over], strict=True)
    ]
    kept = [ratio for foreign, ratio in rounds if foreign < FOREIGN_CORES]
    if len(kept) < wanted:
        kept = [ratio for _, ratio in sorted(rounds)[:wanted]]
    return statistics.median(kept)


def quietest(samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """The clean samples, or the `wanted` quietest where there are fewer clean ones."""
    kept = [sample for sample in samples if sample.foreign < FOREIGN_CORES]
    return kept if len(kept) >= wanted else sorted(samples, key=lambda sample: sample.foreign)[:wanted]


def clean(samples: Sequence[Sample]) -> int:
    """How many samples no neighbour disturbed."""
    return sum(sample.foreign < FOREIGN_CORES for sample in samples)


def await_quiet(longest_s: float = QUIET_S) -> None:
    """Sleep until the machine has little else to do."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end:
        before = procfs.machine_cpu_s()
        time.sleep(LOOK_S)
        if procfs.machine_cpu_s() - before < FOREIGN_CORES * LOOK_S:
            return


def repeat(call: Callable[[], object]) -> Load:
    """One call after the other."""

    def load(seconds: float) -> list[float]:
        latencies: list[float] = []
        clock = time.perf_counter
        now = clock()
        end = now + seconds
        while now < end:
            start = now
            call()
            now = clock()
            latencies.append(now - start)
        return latencies

    return load


def progress(text: str) -> None:
    """One line that overwrites itself, for whoever waits; nothing where no terminal is."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K  {text[:110]}", end="", file=sys.stderr, flush=True)


def _paired(before: Block, during: Block, after: Block) -> Sample:
    foreign = statistics.median((before.foreign, during.foreign, after.foreign))
    return Sample(during, (before.p50_s + after.p50_s) / 2, max(foreign, during.foreign))


def _server_s(contender: Contender) -> float:
    return procfs.cpu_s(contender.pid) if contender.pid else 0.0
