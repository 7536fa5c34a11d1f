"""What a server does while nobody asks: wakeups and CPU, which on a battery is what counts."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench import procfs
from bench.results import Section, Table, at_most
from bench.rig import Rig
from bench.services import started

SETTLE_S = 3.0
WATCH_S = 30.0
METHOD = """\
Every server has answered one JPEG and its client has gone. After 3 s to settle, 30 s are counted: \
voluntary context switches (a thread went to sleep, so it had been woken) and CPU of all threads. All \
servers are watched at once."""


def run(rig: Rig) -> Section:
    with ExitStack() as keep:
        servers = [keep.enter_context(started(command)) for command in (rig.edged(), *rig.peers())]
        time.sleep(SETTLE_S)
        before = [(procfs.wakeups(server.pid), procfs.cpu_s(server.pid)) for server in servers]
        begin = time.monotonic()
        time.sleep(WATCH_S)
        after = [(procfs.wakeups(server.pid), procfs.cpu_s(server.pid)) for server in servers]
        seconds = time.monotonic() - begin
    rates = {
        server.name: ((woken - woken_before) / seconds, (cpu - cpu_before) / seconds * 1e3)
        for server, (woken_before, cpu_before), (woken, cpu) in zip(servers, before, after, strict=True)
    }
    return Section(
        name="idle",
        title="Nobody asks",
        method=METHOD,
        targets=[at_most("idle wakeups", rates["edged"][0], 1.0, "/s")],
        tables=[
            Table(
                title="Idle",
                columns=["server", "wakeups a second", "CPU ms a second"],
                rows=[[name, f"{woken:.2f}", f"{cpu:.2f}"] for name, (woken, cpu) in rates.items()],
            )
        ],
    )
