"""MCP over MQTT: what edged adds to a bare request and its answer through the same broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import cbor2

from bench import limit, wire
from bench.harness import Contender, Sample, interleave, repeat, speedup, summarise
from bench.mosquitto import mosquitto
from bench.mqtt_client import ID, MqttClient
from bench.peers.process import python, running, spawn, stop
from bench.results import Section, Table, Target, at_least, at_most
from bench.rig import Rig

BARE, AGAIN, EDGED, SDK = "bare paho pair", "bare paho pair, again", "edged", "MCP SDK, low-level, on paho"
DEVICE, CALLER = "device", "jpeg"
Samples = Mapping[str, Sequence[Sample]]
METHOD = """\
One caller, QoS 1 both ways, MCP 2026-07-28, through mosquitto on loopback with `set_tcp_nodelay true`. Everybody is \
called by the same paho client, with the user properties of the specification. `bare paho pair` answers each message \
with a fixed one; the SDK is its low-level server behind the same paho loop. A JPEG goes as CBOR; the limit it is \
held against is the in-process one plus the bare pair's round trip with the same JPEG. CPU is the server's, all \
threads, from schedstat."""


class Server(NamedTuple):
    """Who serves under which id."""

    id: str
    pid: int


def run(rig: Rig) -> Section:
    floor = limit.find(rig.weights, rig.pictures, rig.home.kernels, seconds=rig.seconds, rounds=rig.rounds)
    with ExitStack() as keep:
        port = keep.enter_context(mosquitto(rig.work / "mosquitto"))
        servers = {
            BARE: _peer(rig, "bench.peers.bare_mqtt", port, keep),
            EDGED: _edged(rig, port, keep),
            SDK: _peer(rig, "bench.peers.sdk_mqtt", port, keep),
        }
        echo = {name: _echo(name, server, port, keep) for name, server in servers.items()}
        again = echo[BARE]._replace(name=AGAIN)
        calls = interleave(
            echo[BARE], [again, echo[EDGED], echo[SDK]], seconds=rig.seconds, rounds=rig.rounds
        )
        jpegs = [_jpeg(name, servers[name], port, rig, keep) for name in (BARE, EDGED)]
        pictures = interleave(floor.jpeg, jpegs, seconds=rig.seconds, rounds=rig.rounds)
    return Section(
        name="mqtt",
        title="MCP over MQTT",
        method=METHOD,
        targets=_targets(calls, pictures, rig.rounds),
        tables=[
            _table("Echo", "over the bare pair", calls, rig.rounds),
            _table("A JPEG in CBOR", "over the in-process limit", pictures, rig.rounds),
        ],
    )


def _targets(calls: Samples, pictures: Samples, rounds: int) -> list[Target]:
    ours, bare = summarise(calls[EDGED], rounds), summarise(calls[AGAIN], rounds)
    trip = summarise(pictures[BARE], rounds).ratio
    jpeg = summarise(pictures[EDGED], rounds).ratio / (1 + trip)
    return [
        at_most("echo over MQTT, p50 over the bare pair", ours.ratio, 2.5, "x"),
        at_most("echo over MQTT, server CPU over the bare pair", ours.cpu_s / bare.cpu_s, 1.8, "x"),
        at_least("echo over MQTT, times faster than the SDK", speedup(calls, EDGED, SDK, rounds), 1.6, "x"),
        at_most("JPEG over MQTT, p50 over the limit and a bare round trip", jpeg, 1.15, "x"),
    ]


def _echo(name: str, server: Server, port: int, keep: ExitStack) -> Contender:
    client = MqttClient(port, server.id, f"echo-{server.id}")
    keep.callback(client.close)
    message = wire.tool_call("echo", {"text": "hi"}, ID.decode()).rstrip()
    return Contender(name, repeat(lambda: client.call(message, b'"hi"')), server.pid)


def _jpeg(name: str, server: Server, port: int, rig: Rig, keep: ExitStack) -> Contender:
    client = MqttClient(port, server.id, f"{CALLER}-{server.id}", "application/cbor")
    keep.callback(client.close)
    arguments = {"image": {"data": rig.pictures.jpeg}}
    params = {"name": "infer_face", "arguments": arguments, "_meta": wire.META}
    message = cbor2.dumps({"jsonrpc": "2.0", "id": ID.decode(), "method": "tools/call", "params": params})
    expect = b"face" if name == EDGED else b'"hi"'
    return Contender(name, repeat(lambda: client.call(message, expect)), server.pid)


def _peer(rig: Rig, module: str, port: int, keep: ExitStack) -> Server:
    """A peer, under the last word of its module's name; its callers wait for its presence."""
    name = module.rpartition(".")[2]
    process = spawn(python(module, str(port), name), rig.work / f"{name}.log")
    keep.callback(stop, process)
    return Server(name, process.pid)


def _edged(rig: Rig, port: int, keep: ExitStack) -> Server:
    home = rig.prepared("mqtt", rig.face)
    with (home.root / "edged.toml").open("a") as config:
        config.write(
            f'[mqtt]\nbrokers = ["mqtt://127.0.0.1:{port}"]\nid = "{DEVICE}"\nusername = "{DEVICE}"\n'
            f'[access.principals]\n"mqtt:{CALLER}-{DEVICE}" = "act"\n'
        )
    server = keep.enter_context(running(home.run(), home.socket, home.root / "edged.log"))
    return Server(DEVICE, server.pid)


def _table(title: str, over: str, samples: Samples, rounds: int) -> Table:
    results = {name: summarise(taken, rounds) for name, taken in samples.items()}
    return Table(
        title=title,
        columns=["server", "p50 ms", "p99 ms", over, "req/s", "server CPU us", "clean blocks"],
        rows=[
            [
                name,
                f"{r.p50_s * 1e3:.3f}",
                f"{r.p99_s * 1e3:.3f}",
                f"x{r.ratio:.2f}",
                f"{r.per_s:,.0f}",
                f"{r.cpu_s * 1e6:.0f}",
                f"{r.clean}/{r.blocks}",
            ]
            for name, r in results.items()
        ],
    )
