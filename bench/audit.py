"""What the audit log costs: of an inference, of an operator's act, and to verify.

`python -m bench.audit [--write]`. Everything runs in this process, with the real scheduler, kernels and disk.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import job, report
from bench.harness import Contender, Load, Result, interleave, summarise
from bench.results import Section, Table, at_least, at_most, number
from bench.wire import tool_call
from edged.audit.config import AuditConfig
from edged.audit.log import Log
from edged.audit.recorder import Recorder
from edged.clock import Clock
from edged.inference import runtime
from edged.inference.config import InferenceConfig
from edged.inference.kernels import seam
from edged.inference.models.library import Library
from edged.inference.scheduler import Scheduler
from edged.inference.trial.preflight import Preflight
from edged.limits import UNCONSTRAINED
from edged.mcp.catalog import Catalog, Principal, Tier
from edged.mcp.results import Info
from edged.mcp.server import Server
from edged.mcp.session import Session
from edged.tasks import Latest
from edged.tools import infer
from edged.tools.arguments import Sources
from edged.tools.mappings import Mappings
from tests.rig.audit.forging import Written, a_log, verified
from tests.rig.room import install

ACTS = 300
CALLS = 10_000
RECORDS = 100_000
VERIFIED_PER_S = 20_000
COST_MAX = 0.02
PAGE = job.ROOT / "bench" / "results" / "audit.md"
WHO = Principal("uid:1000", (), Tier.OPERATOR)
METHOD = """\
BlazeFace (128x128, float32) on a 640x480 JPEG, through a session, the dispatcher, the tool and the scheduler, all in \
this process: without a socket the log's share is the larger. `none` has no witness at all and runs right before and \
after every block of the others; `none, again` shows the noise. `counts` is the default: calls below an operator's are \
counted, and the next checkpoint says how many. `calls` records each of them. CPU is of all threads, 20 calls a write, \
recording alone. An act is an operator's: it waits until its record is on the disk. Verifying reads a log of 100,000 \
records in memory, with a signed checkpoint every 256; `hash alone` is SHA-256 over the same records, one by one."""


class Answers:
    """The wire of a session: an answer wakes the one who waits for it."""

    congested = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.answered = asyncio.Event()
        self.last = b""

    def write(self, message: bytes) -> None:
        """Keep it, and wake who waits."""
        self.last = message
        self.answered.set()

    def write_from_thread(self, message: bytes) -> None:
        """Likewise."""
        self._loop.call_soon_threadsafe(self.write, message)

    def take_descriptor(self) -> int | None:
        """There is none."""
        return None

    def settled(self) -> None:
        """Wake who waits for the last call's end."""
        self.answered.set()


class Room:
    """The inference room with BlazeFace in it, and a session for each way of recording."""

    def __init__(self, work: Path, cache: Path) -> None:
        self.loop = asyncio.new_event_loop()
        made = runtime.choose("auto")
        library = Library(work / "models", Preflight(made.key))
        install(library, job.model("face", cache))
        kernels, _ = seam.choose("auto", cache / "kernels")
        self.scheduler = Scheduler(InferenceConfig(), library, made, kernels, Latest(UNCONSTRAINED))
        (slot,) = library.active()
        manifest = library.manifest(slot.name, slot.version)
        self.scheduler.serve(manifest)
        sources = Sources(Mappings(), [], 1 << 24)
        self.catalog = Catalog()
        self.catalog.put(infer.tool(infer.Endpoint(manifest, sources), self.scheduler.submit))
        picture = base64.b64encode(job.pictures().jpeg).decode()
        self.call = tool_call("infer_face", {"image": {"data": picture}}).rstrip()

    def load(self, witness: Recorder | None) -> Load:
        """Calls one after the other, for so long."""
        server = Server(self.catalog, Info(name="bench", version="1"), witness=witness)

        async def calls(seconds: float) -> list[float]:
            taken: list[float] = []
            async with asyncio.TaskGroup() as group:
                wire = Answers(asyncio.get_running_loop())
                session = Session(server, WHO, wire, group)
                end = time.perf_counter() + seconds
                while (begun := time.perf_counter()) < end:
                    wire.last = b""
                    session.receive(self.call)
                    while not wire.last:
                        wire.answered.clear()
                        await wire.answered.wait()
                    taken.append(time.perf_counter() - begun)
                while session.busy:
                    wire.answered.clear()
                    await wire.answered.wait()
                session.close()
            assert b'"isError":false' in wire.last, wire.last[:300]
            return taken

        return lambda seconds: self.loop.run_until_complete(calls(seconds))

    def close(self) -> None:
        """End the model's thread and the loop."""
        self.loop.run_until_complete(self.scheduler.close())
        self.loop.close()


@contextmanager
def opened(room: Room, directory: Path, config: AuditConfig) -> Iterator[Recorder]:
    log = Log(directory, config, Clock())
    room.loop.run_until_complete(log.open())
    try:
        yield Recorder(log)
    finally:
        room.loop.run_until_complete(log.close())


class Costs(NamedTuple):
    """What recording takes of an inference's time."""

    latency: dict[str, Result]
    """By way of recording, against none."""
    cpu_s: dict[str, float]
    """Of all threads, a call."""
    act_s: float
    """Median wait of an operator's act for its record."""


def inference(work: Path, cache: Path, seconds: float, rounds: int) -> Costs:
    """Inferences with each way of recording, interleaved; then the recording alone."""
    room = Room(work, cache)
    try:
        with (
            opened(room, work / "counts", AuditConfig()) as counts,
            opened(room, work / "calls", AuditConfig(inference="calls")) as calls,
        ):
            contenders = [
                Contender("none, again", room.load(None)),
                Contender("counts", room.load(counts)),
                Contender("calls", room.load(calls)),
            ]
            samples = interleave(
                Contender("none", room.load(None)), contenders, seconds=seconds, rounds=rounds
            )
            alone = {"counts": counts, "calls": calls}
            cpu_s = {name: room.loop.run_until_complete(recording(by)) for name, by in alone.items()}
            act_s = room.loop.run_until_complete(acts(counts))
        return Costs({name: summarise(taken, rounds) for name, taken in samples.items()}, cpu_s, act_s)
    finally:
        room.close()


async def recording(recorder: Recorder) -> float:
    """CPU seconds to record one call: 20 between two writes, as at 100 calls a second."""
    begun = time.process_time()
    for _ in range(CALLS // 20):
        for _ in range(20):
            recorder.called(WHO, "infer_face")
        await recorder.log.flush()
    return (time.process_time() - begun) / CALLS


async def acts(recorder: Recorder) -> float:
    """How long an operator's act waits for its record."""
    taken = []
    for version in map(str, range(ACTS)):
        begun = time.perf_counter()
        await recorder.act(WHO, "models_activate", {"name": "face", "version": version}, frees=False)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def verifying() -> tuple[float, float]:
    """Records verified a second, with signatures, and the same over hashing them alone."""
    log = a_log(RECORDS)
    bodies = [frame[4:-32] for frame in log.frames]
    data = b"".join(log.frames)
    whole, alone = (
        min(timed(work) for _ in range(3)) for work in (lambda: _verify(log, data), lambda: _hash(bodies))
    )
    return RECORDS / whole, whole / alone


def _verify(log: Written, data: bytes) -> None:
    assert verified(log, data, published=log.published).intact


def _hash(bodies: list[bytes]) -> None:
    for body in bodies:
        hashlib.sha256(body).digest()


def timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def section(work: Path, cache: Path, seconds: float, rounds: int) -> Section:
    """Measure everything."""
    costs = inference(work, cache, seconds, rounds)
    per_s, over_hash = verifying()
    p50_s = costs.latency["none, again"].p50_s
    share = {name: cpu_s / p50_s for name, cpu_s in costs.cpu_s.items()}
    return Section(
        name="audit",
        title="The audit log",
        method=METHOD,
        targets=[
            at_most(
                "counting calls, CPU over an inference's latency", 100 * share["counts"], 100 * COST_MAX, " %"
            ),
            at_most(
                "recording calls, CPU over an inference's latency", 100 * share["calls"], 100 * COST_MAX, " %"
            ),
            at_least("records verified, signatures included", per_s, VERIFIED_PER_S, "/s"),
        ],
        tables=[
            Table(
                title="An inference",
                columns=["recorded", "p50 ms", "over none", "quartiles", "CPU of the record, us"],
                rows=[_row(name, result, costs) for name, result in costs.latency.items()],
            ),
            Table(
                title="The rest",
                columns=["what", "figure"],
                rows=[
                    ["an act waits for its record, p50", f"{number(costs.act_s * 1e3)} ms"],
                    ["records verified", f"{number(per_s)}/s"],
                    ["verifying over hash alone", f"x{number(over_hash)}"],
                ],
            ),
        ],
    )


def _row(name: str, result: Result, costs: Costs) -> list[str]:
    low, high = result.ratio_spread
    cpu_s = costs.cpu_s.get(name)
    cpu = "-" if cpu_s is None else number(cpu_s * 1e6)
    return [name, f"{result.p50_s * 1e3:.3f}", f"x{result.ratio:.3f}", f"{low:.3f} to {high:.3f}", cpu]


def page(made: Section) -> str:
    """The section as a page of its own."""
    facts = "\n".join(f"- {name}: {value}" for name, value in report.machine().items())
    targets = "\n".join(f"- {target}" for target in made.targets)
    tables = "\n\n".join(f"### {table.title}\n\n{_markdown(table)}" for table in made.tables)
    head = f"# {made.title}\n\nMade by `python -m bench.audit --write`."
    return f"{head} {made.method}\n\n{targets}\n\n{facts}\n\n{tables}\n"


def _markdown(table: Table) -> str:
    rule = ["---", *("---:" for _ in table.columns[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (table.columns, rule, *table.rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a timed block (default 0.4)")
    parser.add_argument("--rounds", type=int, default=9, help="undisturbed blocks wanted (default 9)")
    parser.add_argument(
        "--cache", type=Path, default=job.ROOT / "build" / "bench", help="keeps fetched models"
    )
    parser.add_argument("--write", action="store_true", help="replace the committed page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edged-bench-") as work:
        made = section(Path(work), arguments.cache, arguments.seconds, arguments.rounds)
    print(report.text(made))
    if arguments.write:
        PAGE.write_text(page(made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
