"""Resident memory: serving nothing, serving BlazeFace, and after a hundred thousand requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice

from bench import procfs, wire
from bench.clients import Client, Request, line
from bench.harness import progress
from bench.peers.process import running
from bench.results import Section, Table, at_most
from bench.rig import Rig
from bench.services import JPEG, MAPPING, RAW, Edged, started

MIB = 1 << 20
WARM = 200
FIRST, LAST, STEP = 10_000, 100_000, 10_000
PATIENCE_S = 1800.0
METHOD = """\
Rss of smaps_rollup (shared pages count in full). Without models: after 200 listings and echoes. With \
BlazeFace: after 200 pictures of every kind (JPEG, base64 frame, mapping). Growth: JPEG, base64 frame, \
mapping and echo in turn, read every 10,000 requests. Peers: after 200 JPEGs and 200 frames."""

Ask = Callable[[], object]


def run(rig: Rig) -> Section:
    empty = _without_models(rig)
    loaded, grown = _with_face(rig)
    growth = max(grown[requests] for requests in grown if requests > FIRST) - grown[FIRST]
    rows = {"edged, no model": empty, "edged, BlazeFace": loaded} | _peers(rig)
    return Section(
        name="memory",
        title="Memory",
        method=METHOD,
        targets=[
            at_most("resident without models", empty[0] / MIB, 30, " MiB"),
            at_most("resident with BlazeFace", loaded[0] / MIB, 60, " MiB"),
            at_most(f"growth from request {FIRST:,} to {LAST:,} (highest)", growth / MIB, 1.0, " MiB"),
        ],
        tables=[
            Table(
                title="Resident memory",
                columns=["server", "RSS MiB", "private MiB"],
                rows=[[name, *(f"{size / MIB:.1f}" for size in sizes)] for name, sizes in rows.items()],
            ),
            Table(
                title="Over requests",
                columns=["requests", "RSS MiB"],
                rows=[[f"{requests:,}", f"{size / MIB:.2f}"] for requests, size in grown.items()],
            ),
        ],
    )


def _without_models(rig: Rig) -> tuple[int, int]:
    home = rig.bare
    with (
        running(home.run(), home.socket, home.root / "edged.log") as server,
        Client(server.socket, line) as client,
    ):
        for _ in range(WARM):
            client.call(Request(wire.request("tools/list", {}), b'"echo"'))
            client.call(_echo())
        return _sizes(server.pid)


def _with_face(rig: Rig) -> tuple[tuple[int, int], dict[int, int]]:
    with started(rig.edged()) as server, ExitStack() as keep:
        asks = [_asking(*server.caller(kind, keep)) for kind in (JPEG, RAW, MAPPING)]
        for ask in asks:
            _repeat(ask, WARM)
        loaded = _sizes(server.pid)
        assert isinstance(server, Edged)
        echo = keep.enter_context(Client(rig.home.socket, line))
        return loaded, _growth(server.pid, [*asks, _asking(echo, _echo())])


def _growth(pid: int, asks: list[Ask]) -> dict[int, int]:
    """Resident bytes after every STEP requests."""
    sizes: dict[int, int] = {}
    end = time.monotonic() + PATIENCE_S
    for count, ask in enumerate(islice(cycle(asks), LAST), 1):
        ask()
        if count % STEP == 0:
            sizes[count] = procfs.rss_bytes(pid)
            progress(f"memory: {count:,} requests, {sizes[count] / MIB:.2f} MiB")
            if time.monotonic() > end:
                raise TimeoutError(f"{count} requests took longer than {PATIENCE_S:.0f} s")
    progress("")
    return sizes


def _peers(rig: Rig) -> dict[str, tuple[int, int]]:
    sizes = {}
    for command in rig.peers():
        with started(command) as server, ExitStack() as keep:
            for kind in (JPEG, RAW):
                _repeat(_asking(*server.caller(kind, keep)), WARM)
            sizes[server.name] = _sizes(server.pid)
    return sizes


def _asking(client: Client, request: Request) -> Ask:
    return lambda: client.call(request)


def _repeat(ask: Ask, times: int) -> None:
    for _ in range(times):
        ask()


def _echo() -> Request:
    return Request(wire.tool_call("echo", {"text": "hi"}), b'"hi')


def _sizes(pid: int) -> tuple[int, int]:
    return procfs.rss_bytes(pid), procfs.private_bytes(pid)
