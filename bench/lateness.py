"""How long a small call waits while a model runs flat out: whether anything holds up the event loop."""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import job, wire
from bench.clients import ANSWER_S, Caller, Client, Request, Wrong, line, shared_memory
from bench.harness import Contender, Result, interleave, summarise
from bench.harness import Load as Loading
from bench.job import HEIGHT, WIDTH
from bench.peers.process import running
from bench.results import Section, Table, at_most
from bench.rig import Rig

SATURATING = 2  # connections with an inference each under way: the model's queue never runs empty
PACE_S = 0.002
BLOCK_S = 2.0
METHOD = """\
EfficientNet-Lite0 float32 is kept busy with raw frames from a mapping by two connections that ask again \
as soon as they are answered. On a third, `echo` is called every 2 ms and timed from outside, so the \
figure holds the client's own delays too: nothing is subtracted. Quiet blocks of the same calls run \
between."""


def run(rig: Rig) -> Section:
    home = rig.prepared("imagenet", job.model("imagenet", rig.cache))
    with running(home.run(), home.socket, home.root / "edged.log") as server, ExitStack() as keep:
        small = Caller(keep.enter_context(Client(home.socket, line)), _echo())
        busy = [_caller(home.socket, rig.pictures, keep) for _ in range(SATURATING)]
        quiet = Contender("quiet", watch(small, []), server.pid)
        saturated = Contender("saturated", watch(small, busy), server.pid)
        samples = interleave(quiet, [saturated], seconds=BLOCK_S, rounds=rig.rounds)["saturated"]
        invoke_ms = _stage_ms(busy[0])
    result = summarise(samples, rig.rounds)
    return Section(
        name="lateness",
        title="A small call beside a busy model",
        method=METHOD,
        targets=[at_most("small call beside a busy model, p99", result.p99_s * 1e3, 6.0, " ms")],
        tables=[_table(result, invoke_ms)],
    )


def watch(small: Caller, busy: Sequence[Caller]) -> Loading:
    """A load that times the small call every PACE_S while `busy` ask again and again."""

    def load(seconds: float) -> list[float]:
        with selectors.DefaultSelector() as selector:
            for caller in (small, *busy):
                caller.client.socket.setblocking(False)
                selector.register(caller.client.socket, selectors.EVENT_READ, caller)
            for caller in busy:
                caller.ask(time.perf_counter())
            return _watched(selector, small, len(busy), time.perf_counter() + seconds)

    return load


def _watched(selector: selectors.BaseSelector, small: Caller, busy: int, end: float) -> list[float]:
    latencies: list[float] = []
    now = due = time.perf_counter()
    waiting = False
    while busy or waiting or now < end:
        if not waiting and due <= now < end:
            small.ask(now)
            waiting, due = True, now + PACE_S
        events = selector.select(ANSWER_S if waiting or now >= end else due - now)
        now = time.perf_counter()
        if waiting and not events:
            raise Wrong(f"no answer for {ANSWER_S:.0f} s")
        for key, _ in events:
            caller: Caller = key.data
            if not caller.client.receive(caller.request.expect):
                continue
            if caller is small:
                latencies.append(now - caller.asked_at)
                waiting = False
            elif now < end:
                caller.ask(now)
            else:
                busy -= 1
    return latencies


def _caller(socket: Path, pictures: job.Pictures, keep: ExitStack) -> Caller:
    client = keep.enter_context(Client(socket, line))
    descriptor, _ = keep.enter_context(shared_memory(pictures.rgb.tobytes()))
    client.pass_memory(
        Request(wire.request("edged/mapping/register", {"bytes": pictures.rgb.nbytes}), b'"m1"'), descriptor
    )
    image = {"mapping": "m1", "offset": 0, "layout": "rgb", "width": WIDTH, "height": HEIGHT}
    request = Request(wire.tool_call("infer_imagenet", {"image": image}), b'"invoke_ms"')
    client.call(request)
    return Caller(client, request)


def _stage_ms(caller: Caller) -> float:
    """What the daemon says an invoke takes, from one answer."""
    caller.client.socket.settimeout(ANSWER_S)
    _, _, rest = caller.client.call(caller.request).partition(b'"invoke_ms":')
    return float(rest[: min(rest.find(end) for end in (b",", b"}"))])


def _echo() -> Request:
    return Request(wire.tool_call("echo", {"text": "hi"}), b'"hi')


def _table(result: Result, invoke_ms: float) -> Table:
    return Table(
        title="echo every 2 ms while the model runs flat out",
        columns=["p50 ms", "p99 ms", "p50 over the quiet one's", "one invoke, ms", "clean blocks"],
        rows=[
            [
                f"{result.p50_s * 1e3:.3f}",
                f"{result.p99_s * 1e3:.3f}",
                f"x{result.ratio:.1f}",
                f"{invoke_ms:.2f}",
                f"{result.clean}/{result.blocks}",
            ]
        ],
    )
