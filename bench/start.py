"""From the start of a process to its first answer, and whether it can do without executable memory."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bench import procfs
from bench.harness import FOREIGN_CORES, PATIENCE, await_quiet, progress
from bench.peers.process import spawn, stop, wait_for
from bench.results import Section, Table, Target, at_most
from bench.rig import Rig
from bench.services import JPEG, Command, started

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h: what systemd's MemoryDenyWriteExecute= sets
CONFINED = (
    "import ctypes, os, sys; "
    f"failed = ctypes.CDLL(None).prctl({PR_SET_MDWE}, {PR_MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0); "
    "failed and sys.exit('this kernel has no PR_SET_MDWE'); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
METHOD = """\
Spawn to the first right answer to a JPEG, the socket tried every millisecond; bytecode and page cache \
warm, kernels compiled, models installed. Servers take turns, the order turns round every time. \
`confined` is edged under PR_SET_MDWE, which is what systemd's MemoryDenyWriteExecute=yes sets."""


class Start(NamedTuple):
    """One start, until its first answer."""

    seconds: float
    cpu_s: float
    foreign: float


def run(rig: Rig) -> Section:
    edged = rig.edged()
    confined = edged._replace(
        name="edged, confined", command=[sys.executable, "-c", CONFINED, *edged.command]
    )
    commands = [edged, *rig.peers(), confined]
    for command in commands:
        with started(command):
            pass
    taken: dict[str, list[Start]] = {command.name: [] for command in commands}
    for turn in range(rig.rounds * PATIENCE):
        await_quiet()
        for command in commands if turn % 2 == 0 else commands[::-1]:
            taken[command.name].append(_start(command))
        progress(f"start: {turn + 1} rounds")
        if all(
            sum(start.foreign < FOREIGN_CORES for start in starts) >= rig.rounds for starts in taken.values()
        ):
            break
    progress("")
    return Section(
        name="start",
        title="From start to the first answer",
        method=METHOD,
        targets=_targets(taken, rig.rounds),
        tables=[_table(taken, rig.rounds)],
    )


def _start(command: Command) -> Start:
    log = command.socket.with_suffix(".log")
    own, machine, begin = time.process_time(), procfs.machine_cpu_s(), time.perf_counter()
    process = spawn(command.command, log)
    try:
        wait_for(command.socket, process, log)
        with ExitStack() as keep:
            client, request = command.connect(process.pid, command.socket).caller(JPEG, keep)
            client.call(request)
            seconds = time.perf_counter() - begin
        cpu = procfs.cpu_s(process.pid)
        busy = procfs.machine_cpu_s() - machine - cpu - (time.process_time() - own)
    finally:
        stop(process)
    return Start(seconds, cpu, max(0.0, busy / seconds))


def _targets(taken: dict[str, list[Start]], rounds: int) -> list[Target]:
    targets = [at_most("start to the first answer", _median(taken["edged"], rounds) * 1e3, 220, " ms")]
    for peer, starts in taken.items():
        if peer.startswith("edged"):
            continue
        bound = 1 / 3 if "SDK" in peer else 1 / 2
        targets.append(at_most(f"start, share of {peer}'s", _share(taken["edged"], starts, rounds), bound))
    return targets


def _share(mine: Sequence[Start], theirs: Sequence[Start], rounds: int) -> float:
    pairs = sorted(
        (max(a.foreign, b.foreign), a.seconds / b.seconds) for a, b in zip(mine, theirs, strict=True)
    )
    kept = [share for foreign, share in pairs if foreign < FOREIGN_CORES]
    return statistics.median(kept if len(kept) >= rounds else [share for _, share in pairs[:rounds]])


def _median(starts: Sequence[Start], rounds: int) -> float:
    ordered = sorted(starts, key=lambda start: start.foreign)
    kept = [start for start in ordered if start.foreign < FOREIGN_CORES]
    return statistics.median(start.seconds for start in (kept if len(kept) >= rounds else ordered[:rounds]))


def _table(taken: dict[str, list[Start]], rounds: int) -> Table:
    return Table(
        title="Start to the first answer",
        columns=["server", "median ms", "best ms", "CPU ms until then", "clean starts"],
        rows=[
            [
                name,
                f"{_median(starts, rounds) * 1e3:.0f}",
                f"{min(s.seconds for s in starts) * 1e3:.0f}",
                f"{statistics.median(s.cpu_s for s in starts) * 1e3:.0f}",
                f"{sum(s.foreign < FOREIGN_CORES for s in starts)}/{len(starts)}",
            ]
            for name, starts in taken.items()
        ],
    )
