"""The cost of a call that does nothing: framing, JSON, the MCP envelope, access, arguments, the answer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench import wire
from bench.clients import Client, Request, line, pipeline
from bench.harness import Contender, Result, interleave, repeat, summarise
from bench.peers.process import Running, python, running
from bench.results import Section, Table, at_least, at_most
from bench.rig import Rig

DEPTH = 32
CYCLE = 1024  # ids before one is used again: far more than are ever under way
EXPECT = b'"hi'
METHOD = """\
`tools/call` of `echo` with five bytes, one connection, MCP 2026-07-28. Depth 1 waits for each answer; \
depth 32 keeps 32 under way. `bare line` is a Python process that answers every line with a fixed one: \
what the two socket ends cost. The SDK is its low-level server on the same kind of socket. CPU is the \
server's, all threads, from schedstat."""


def run(rig: Rig) -> Section:
    with ExitStack() as keep:
        bare = started(rig, "bench.peers.bare_line", keep)
        sdk = started(rig, "bench.peers.sdk_socket", keep)
        home = rig.bare
        edged = keep.enter_context(running(home.run(), home.socket, home.root / "edged.log"))
        servers = {"bare line": bare, "edged": edged, "MCP SDK, low-level server": sdk}
        results = _race(rig, servers, 1) | _race(rig, servers, DEPTH)
    one, deep = results["edged, depth 1"], results[f"edged, depth {DEPTH}"]
    return Section(
        name="echo",
        title="A call that does nothing",
        method=METHOD,
        targets=[
            at_least("echo, one at a time", one.per_s, 12_000, "/s"),
            at_least(f"echo, {DEPTH} under way", deep.per_s, 30_000, "/s"),
            at_most("echo, server CPU, one at a time", one.cpu_s * 1e6, 60, " us"),
            at_most(f"echo, server CPU, {DEPTH} under way", deep.cpu_s * 1e6, 60, " us"),
        ],
        tables=[_table(results)],
    )


def _race(rig: Rig, servers: dict[str, Running], depth: int) -> dict[str, Result]:
    with ExitStack() as keep:
        reference, *contenders = (
            contender(f"{name}, depth {depth}", server, depth, keep) for name, server in servers.items()
        )
        samples = interleave(reference, contenders, seconds=rig.seconds, rounds=rig.rounds)
    return {name: summarise(taken, rig.rounds) for name, taken in samples.items()}


def started(rig: Rig, module: str, keep: ExitStack) -> Running:
    path: Path = rig.work / f"{module}.sock"
    path.unlink(missing_ok=True)  # of an earlier bench in this run
    return keep.enter_context(running(python(module, path), path, path.with_suffix(".log")))


def contender(name: str, server: Running, depth: int, keep: ExitStack) -> Contender:
    client = keep.enter_context(Client(server.socket, line))
    requests = [wire.tool_call("echo", {"text": "hi"}, f"{i:04}") for i in range(CYCLE)]
    if depth > 1:
        return Contender(name, pipeline(client, requests, EXPECT, depth), server.pid)
    only = Request(requests[0], EXPECT)
    return Contender(name, repeat(lambda: client.call(only)), server.pid)


def _table(results: dict[str, Result]) -> Table:
    return Table(
        title="Calls on one connection",
        columns=[
            "server",
            "req/s",
            "p50 us",
            "p99 us",
            "server CPU us",
            "over the bare line",
            "clean blocks",
        ],
        rows=[
            [
                name,
                f"{r.per_s:,.0f}",
                f"{r.p50_s * 1e6:.0f}",
                f"{r.p99_s * 1e6:.0f}",
                f"{r.cpu_s * 1e6:.1f}",
                f"x{r.ratio:.2f}",
                f"{r.clean}/{r.blocks}",
            ]
            for name, r in results.items()
        ],
    )
