"""Our MCP against the official SDK's, on the same kind of socket; and what it costs that many listen."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack

from bench import procfs, wire
from bench.clients import Wrong
from bench.echo import DEPTH, contender, started
from bench.harness import Sample, await_quiet, interleave, speedup, summarise
from bench.peers.process import Running, running
from bench.peers.ticking import CHANGES_HZ, URI
from bench.results import Section, Table, at_least, at_most
from bench.rig import Rig

LISTENERS = 500
BLOCK_S = 3.0  # of listening: thirty changes
BUFFER_BYTES = 1 << 16
EDGED, SDK, BARE = "edged", "MCP SDK, low-level server", "bare line"
METHOD = f"""\
`tools/call` of `echo` with five bytes, MCP 2026-07-28: the daemon and the official SDK's low-level server, \
each on a Unix socket, interleaved block by block with a process that answers every line with a fixed one. \
How many times faster is the median over rounds of the ratio of the two, each against the fixed lines around \
it. Then {LISTENERS} connections to a server on the daemon's link listen to one resource that changes \
{CHANGES_HZ} times a second: CPU of all threads of the server, from schedstat, over wall time, in blocks of \
{BLOCK_S:.0f} s; every listener must have heard of every change."""


def run(rig: Rig) -> Section:
    with ExitStack() as keep:
        home = rig.bare
        servers = {
            BARE: started(rig, "bench.peers.bare_line", keep),
            EDGED: keep.enter_context(running(home.run(), home.socket, home.root / "edged.log")),
            SDK: started(rig, "bench.peers.sdk_socket", keep),
        }
        races = {depth: _race(rig, servers, depth) for depth in (1, DEPTH)}
    with ExitStack() as keep:
        shares = _listen(rig, started(rig, "bench.peers.ticking", keep), keep)
    faster = {depth: speedup(race, EDGED, SDK, rig.rounds) for depth, race in races.items()}
    return Section(
        name="mcp_peers",
        title="Our MCP beside the official SDK's",
        method=METHOD,
        targets=[
            at_least("times the SDK, one at a time", faster[1], 5),
            at_least(f"times the SDK, {DEPTH} under way", faster[DEPTH], 5),
            at_most(f"{LISTENERS} listeners, {CHANGES_HZ} changes a second, cores", min(shares), 0.2),
        ],
        tables=[_echo_table(rig, races), _listening_table(shares)],
    )


def _race(rig: Rig, servers: dict[str, Running], depth: int) -> dict[str, list[Sample]]:
    with ExitStack() as keep:
        reference, *others = (contender(name, server, depth, keep) for name, server in servers.items())
        return interleave(reference, others, seconds=rig.seconds, rounds=rig.rounds)


def _listen(rig: Rig, server: Running, keep: ExitStack) -> list[float]:
    """Cores the server used in each of `rig.rounds` blocks."""
    asked = wire.request("subscriptions/listen", {"notifications": {"resourceSubscriptions": [URI]}}, "l")
    with selectors.DefaultSelector() as selector:
        for _ in range(LISTENERS):
            connection = keep.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(server.socket))
            connection.sendall(asked)
            selector.register(connection, selectors.EVENT_READ, connection)
        _hear(selector, 1.0)
        shares = []
        for _ in range(rig.rounds):
            await_quiet()
            shares.append(_share(selector, server))
    return shares


def _share(selector: selectors.BaseSelector, server: Running) -> float:
    cpu, begin = procfs.cpu_s(server.pid), time.monotonic()
    heard = _hear(selector, BLOCK_S)
    seconds = time.monotonic() - begin
    cpu = procfs.cpu_s(server.pid) - cpu
    most, least = max(heard.values(), default=0), min(heard.values(), default=0)
    if len(heard) < LISTENERS or most - least > 1 or most < (seconds * CHANGES_HZ) * 0.9:
        raise Wrong(f"{len(heard)} listeners heard between {least} and {most} changes in {seconds:.1f} s")
    return cpu / seconds


def _hear(selector: selectors.BaseSelector, seconds: float) -> dict[int, int]:
    """Read for so long; how many notifications each connection brought."""
    heard: dict[int, int] = {}
    buffer = bytearray(BUFFER_BYTES)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            connection: socket.socket = key.data
            count = connection.recv_into(buffer)
            if not count:
                raise Wrong("the server closed the connection")
            heard[key.fd] = heard.get(key.fd, 0) + buffer.count(b"\n", 0, count)
    return heard


def _echo_table(rig: Rig, races: dict[int, dict[str, list[Sample]]]) -> Table:
    rows = []
    for depth, race in races.items():
        for name, samples in race.items():
            r = summarise(samples, rig.rounds)
            rows.append(
                [
                    f"{name}, depth {depth}",
                    f"{r.per_s:,.0f}",
                    f"{r.p50_s * 1e6:.0f}",
                    f"{r.p99_s * 1e6:.0f}",
                    f"{r.cpu_s * 1e6:.1f}",
                    f"x{r.ratio:.2f}",
                    f"{r.clean}/{r.blocks}",
                ]
            )
    columns = ["server", "req/s", "p50 us", "p99 us", "server CPU us", "over the bare line", "clean blocks"]
    return Table(title="Echo", columns=columns, rows=rows)


def _listening_table(shares: list[float]) -> Table:
    ordered = sorted(shares)
    told = LISTENERS * CHANGES_HZ
    row = [f"{LISTENERS}", f"{told:,}", f"{ordered[0]:.3f}", f"{ordered[len(ordered) // 2]:.3f}"]
    row.append(f"{ordered[0] / told * 1e6:.1f}")
    return Table(
        title="Listeners of a resource that changes ten times a second",
        columns=["listeners", "notifications/s", "cores, least", "cores, median", "CPU us each, least"],
        rows=[row],
    )
