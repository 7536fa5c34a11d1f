"""An inference over the wire, against the same inference with nothing around it, and against the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from bench import limit
from bench.clients import crowd
from bench.harness import Contender, Result, Sample, interleave, repeat, speedup, summarise
from bench.results import Section, Table, Target, at_least, at_most
from bench.rig import Rig
from bench.services import JPEG, MAPPING, RAW, Service, started

CALLERS = 8
METHOD = """\
BlazeFace (128x128, float32) on a 640x480 photograph. Every request is encoded beforehand and every \
answer checked for a score. `limit` is the fastest in-process loop of decode, preprocess and invoke; it \
runs right before and after each block, and a ratio is a block's median over the mean of those two. Peers \
shrink the JPEG while decoding as edged does, use OpenCV, run on the event loop and answer with the \
surest face only; edged also suppresses overlaps and gives six landmarks. `mapping` is a frame that lies \
in memory registered once; `base64` is the same frame inside the JSON."""

Samples = Mapping[str, Sequence[Sample]]


def run(rig: Rig) -> Section:
    floor = limit.find(rig.weights, rig.pictures, rig.home.kernels, seconds=rig.seconds, rounds=rig.rounds)
    with ExitStack() as keep:
        servers = [keep.enter_context(started(server)) for server in (rig.edged(), *rig.peers())]
        one, many = {}, {}
        for kind, reference in ((JPEG, floor.jpeg), (RAW, floor.raw)):
            alone = [_alone(*way, keep) for way in _ways(servers, kind)]
            one[kind] = interleave(reference, alone, seconds=rig.seconds, rounds=rig.rounds)
            crowded = [_crowded(*way, keep) for way in _ways(servers, kind)]
            many[kind] = interleave(reference, crowded, seconds=2 * rig.seconds, rounds=rig.rounds)
    return Section(
        name="call",
        title="An inference over the wire",
        method=METHOD,
        targets=[*_alone_targets(one, rig.rounds), *_crowd_targets(many, rig.rounds)],
        tables=[
            _limits(floor),
            *(_table(f"One caller, {kind}", one[kind], rig.rounds) for kind in one),
            *(_table(f"{CALLERS} callers, {kind}", many[kind], rig.rounds) for kind in many),
        ],
    )


def _ways(servers: Sequence[Service], kind: str) -> list[tuple[str, Service, str]]:
    ways = [(server.name, server, kind) for server in servers]
    if kind == RAW:
        ways = [("edged, base64", servers[0], RAW), ("edged, mapping", servers[0], MAPPING), *ways[1:]]
    return ways


def _alone(name: str, server: Service, kind: str, keep: ExitStack) -> Contender:
    client, request = server.caller(kind, keep)
    return Contender(name, repeat(lambda: client.call(request)), server.pid)


def _crowded(name: str, server: Service, kind: str, keep: ExitStack) -> Contender:
    clients, requests = zip(*(server.caller(kind, keep) for _ in range(CALLERS)), strict=True)
    return Contender(name, crowd(clients, requests), server.pid)


def _alone_targets(taken: Mapping[str, Samples], rounds: int) -> list[Target]:
    jpeg, raw = taken[JPEG], taken[RAW]
    targets = [
        at_most("JPEG, p50 over the limit", summarise(jpeg["edged"], rounds).ratio, 1.15, "x"),
        at_most(
            "raw frame in base64, p50 over the limit", summarise(raw["edged, base64"], rounds).ratio, 1.7, "x"
        ),
        at_most(
            "raw frame in a mapping, p50 over the limit",
            summarise(raw["edged, mapping"], rounds).ratio,
            1.2,
            "x",
        ),
    ]
    for peer in (name for name in jpeg if name != "edged"):
        of_jpeg, of_raw = (1.7, 7.0) if "SDK" in peer else (1.1, 2.4)
        targets += [
            at_least(f"JPEG, times faster than {peer}", speedup(jpeg, "edged", peer, rounds), of_jpeg, "x"),
            at_least(
                f"raw frame (mapping), times faster than {peer}",
                speedup(raw, "edged, mapping", peer, rounds),
                of_raw,
                "x",
            ),
        ]
    return targets


def _crowd_targets(taken: Mapping[str, Samples], rounds: int) -> list[Target]:
    targets = []
    for kind, ways in {JPEG: ["edged"], RAW: ["edged, base64", "edged, mapping"]}.items():
        results = {name: summarise(samples, rounds) for name, samples in taken[kind].items()}
        best = max(result.share for name, result in results.items() if not name.startswith("edged"))
        for name in ways:
            what = (
                f"{CALLERS} callers, {kind} ({name.removeprefix('edged, ')})"
                if kind == RAW
                else f"{CALLERS} callers, {kind}"
            )
            targets += [
                at_least(f"{what}, throughput over the best peer's", results[name].share / best, 1.0, "x"),
                at_most(f"{what}, p99 over p50", results[name].tail, 2.0, "x"),
            ]
    return targets


def _limits(floor: limit.Limit) -> Table:
    return Table(
        title="The limit: every way to do it in-process (the fastest of each kind is the reference)",
        columns=["way", "p50 ms", "over the invoke alone", "clean blocks"],
        rows=[
            [name, _ms(r.p50_s), f"x{r.ratio:.2f}", f"{r.clean}/{r.blocks}"]
            for name, r in floor.table.items()
        ],
    )


def _table(title: str, samples: Samples, rounds: int) -> Table:
    return Table(
        title=title,
        columns=[
            "server",
            "p50 ms",
            "p99 ms",
            "over the limit",
            "quartiles",
            "req/s",
            "of the limit's rate",
            "server CPU ms",
            "clean blocks",
        ],
        rows=[_row(name, summarise(taken, rounds)) for name, taken in samples.items()],
    )


def _row(name: str, r: Result) -> list[str]:
    low, high = r.ratio_spread
    return [
        name,
        _ms(r.p50_s),
        _ms(r.p99_s),
        f"x{r.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{r.per_s:,.0f}",
        f"{r.share:.2f}",
        _ms(r.cpu_s),
        f"{r.clean}/{r.blocks}",
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"
