"""What one hostile MQTT client costs the others: their latency while it does its worst, and the daemon's memory."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

from bench import procfs, wire
from bench.harness import Contender, Load, interleave, repeat, summarise
from bench.mosquitto import mosquitto
from bench.mqtt_client import ID, MqttClient
from bench.peers import mqtt_flood
from bench.peers.process import python, running, spawn, stop
from bench.results import Section, Table, at_most
from bench.rig import Rig

SERVER = "device"
SEED = 1
METHOD = """\
One honest caller of `echo` over MQTT, QoS 1, alone and while a hostile client sends a thousand messages a second: \
floods of calls, reused ids, giant and malformed messages, tricks in CBOR, forged reply topics and handshakes, its own \
will again and again (seed 1 of `tests/rig/mqtt_hostile.py`). Both share two CPUs with the broker, the hostile client \
and this bench. Memory is the daemon's resident set over all of that, after a first onslaught."""


def run(rig: Rig) -> Section:
    with ExitStack() as keep:
        port = keep.enter_context(mosquitto(rig.work / "mosquitto-hostile"))
        home = rig.prepared("hostile")
        with (home.root / "edged.toml").open("a") as config:
            config.write(
                f'[mqtt]\nbrokers = ["mqtt://127.0.0.1:{port}"]\nid = "{SERVER}"\nusername = "{SERVER}"\n'
            )
        server = keep.enter_context(running(home.run(), home.socket, home.root / "edged.log"))
        client = MqttClient(port, SERVER, f"echo-{SERVER}")
        keep.callback(client.close)
        flood = spawn(python("bench.peers.mqtt_flood", str(port), SERVER, str(SEED)), rig.work / "flood.log")
        keep.callback(stop, flood)
        keep.callback(os.kill, flood.pid, signal.SIGCONT)
        while mqtt_flood.READY not in (rig.work / "flood.log").read_text():
            time.sleep(0.1)
        message = wire.tool_call("echo", {"text": "hi"}, ID.decode()).rstrip()
        call = repeat(lambda: client.call(message, b'"hi"'))
        attacked = _under(flood.pid, call)
        attacked(2.0)
        before = procfs.rss_bytes(server.pid)
        quiet = Contender("alone", call, server.pid)
        hostile = Contender("under attack", attacked, server.pid)
        samples = interleave(quiet, [hostile], seconds=rig.seconds, rounds=rig.rounds, quiet_s=0.0)
        grown = (procfs.rss_bytes(server.pid) - before) / (1 << 20)
    result = summarise(samples["under attack"], rig.rounds)
    return Section(
        name="mqtt_hostile",
        title="A hostile MQTT client",
        method=METHOD,
        targets=[
            at_most("echo beside a hostile client, p50 over alone", result.ratio, 3.0, "x"),
            at_most("memory grown under attack", grown, 4.0, " MiB"),
        ],
        tables=[
            Table(
                title="An honest caller",
                columns=["", "p50 ms", "p99 ms", "over alone"],
                rows=[
                    [
                        "under attack",
                        f"{result.p50_s * 1e3:.3f}",
                        f"{result.p99_s * 1e3:.3f}",
                        f"x{result.ratio:.2f}",
                    ]
                ],
            )
        ],
    )


def _under(pid: int, load: Load) -> Load:
    """The load while a process runs that is stopped otherwise."""
    os.kill(pid, signal.SIGSTOP)

    def attacked(seconds: float) -> list[float]:
        os.kill(pid, signal.SIGCONT)
        try:
            return load(seconds)
        finally:
            os.kill(pid, signal.SIGSTOP)

    return attacked
