"""Lives of a spool that end in power cuts, with brokers that forget, lines that break, full disks and clocks that lie.

    ./dev chaos spool [--seed N] [--runs N]

A run is a few lives and a calm one at the end. Each life is a process whose disk is recorded; it ends at a moment the
seed chooses among all writes, fsyncs and events, and the next begins on what a power cut there could have left,
un-fsynced writes dropped or torn. In runs of an odd seed records are sealed. What the world outside has seen by that moment stays seen. Time is the loop's own.

Asked of each run: every record that must not be lost and was acknowledged to its producer has reached the fleet (or,
where the broker's word is enough, the broker); telemetry has arrived or is in a reported gap; what came twice is the
same record and has the same id; every kind first arrives in order; and in the calm life everything drains.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edged.errors import Overloaded, StorageError
from edged.links.spool.config import SpoolConfig
from edged.links.spool.service import Spool
from edged.links.spool.values import Kind, Record, Sealer
from tests.rig.fastloop import WatchedThread, run_fast
from tests.rig.powercut import Fault, fail, live, note, restart_with_shim, room
from tests.rig.spool_broker import Broker, Item
from tests.rig.spool_keys import FixedKeys

MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is made by mkdtemp
CALM_S = 40 * 86_400.0
REPORTED_S = 1000.0
TOPICS = {kind: f"edged/v1/dev/up/{kind}" for kind in Kind}
FAULTS = (
    (Fault("ENOSPC", "write", 1, -1),),
    (Fault("ENOSPC", "write", 3, -1),),
    (Fault("HALF", "write", 2, 1), Fault("ENOSPC", "write", 3, 4)),
    (Fault("EIO", "sync", 1, 1),),
    (Fault("EIO", "sync", 2, 3),),
    (Fault("EIO", "write", 2, 2),),
)


class Wrong(Exception):
    """An invariant that did not hold."""


@dataclass
class World:
    """What everybody but the device knows, over all lives."""

    kept: set[str] = field(default_factory=set)
    """Ids acknowledged to their producer."""
    arrived: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Ids at a broker: spool and sequence number."""
    effects: set[str] = field(default_factory=set)
    """Ids at the fleet manager, which does a thing once."""
    last: dict[tuple[str, str], int] = field(default_factory=dict)
    """The highest number that has arrived, by spool and topic."""
    gone: dict[str, int] = field(default_factory=dict)
    """Telemetry reported lost, by the report's id."""
    tried: int = 0
    """Telemetry that was put, acknowledged or not."""
    times: int = 0
    """Arrivals, repeated ones too."""
    cuts: int = 0

    def hear(self, notes: Sequence[str]) -> None:
        """Take in what happened up to the cut; raises Wrong."""
        for text in notes:
            word, *rest = msgspec.json.decode(text)
            if word == "try":
                self.tried += 1
            elif word == "kept":
                self.kept.update(rest)
            elif word == "effect":
                self.effects.add(rest[0])
            else:
                name, seq, spool, topic, content = rest
                self._arrive(Item(name, seq, spool, topic, content.encode()))

    def _arrive(self, item: Item) -> None:
        self.times += 1
        known = self.arrived.setdefault(item.id, (item.spool, item.seq))
        if known != (item.spool, item.seq):
            raise Wrong(f"{item.id} came as {known} and as {(item.spool, item.seq)}")
        if item.id.startswith("gap-"):
            self.gone[item.id] = int(msgspec.json.decode(item.payload)["count"])
        elif item.payload != payload(item.id):
            raise Wrong(f"{item.id} came with another content")
        if known[1] > self.last.get((item.spool, item.topic), 0):
            self.last[item.spool, item.topic] = known[1]

    def counts(self) -> dict[str, int]:
        """For the report: what the runs were made of."""
        return {
            "records acknowledged": len(self.kept),
            "arrived": len(self.arrived),
            "times": self.times,
            "samples reported gone": sum(self.gone.values()),
            "power cuts": self.cuts,
        }

    def judge(self, *, end_to_end: bool) -> None:
        """Once everything is over; raises Wrong."""
        there = self.effects if end_to_end else self.arrived.keys()
        if lost := [name for name in self.kept if not name.startswith("telemetry") and name not in there]:
            raise Wrong(f"lost: {sorted(lost)}")
        missing = [n for n in self.kept if n.startswith("telemetry") and n not in self.arrived]
        reported = sum(self.gone.values())
        if not len(missing) <= reported <= self.tried:
            raise Wrong(f"{len(missing)} of {self.tried} samples missing, {reported} reported")


class Order:
    """Watches what arrives within a life: what comes for the first time comes in order."""

    def __init__(self, world: World) -> None:
        self._seen = set(world.arrived)
        self._last = dict(world.last)

    def arrive(self, item: Item) -> None:
        """Raises Wrong."""
        if item.id in self._seen:
            return
        self._seen.add(item.id)
        last = self._last.get((item.spool, item.topic), 0)
        if item.seq <= last and not item.id.startswith("gap-"):
            raise Wrong(f"{item.id} is {item.seq}, after {last}")
        self._last[item.spool, item.topic] = max(last, item.seq)


def payload(name: str) -> bytes:
    """The content of the record of this name."""
    dice = random.Random(name)  # noqa: S311 - repeatable, not secret
    size = dice.choice((10, 100, 400, 3000, 9000))
    return msgspec.json.encode({"name": name, "filling": dice.randbytes(size // 2).hex()})


class Life:
    """One process: a spool, those who fill it, and what happens to it."""

    def __init__(
        self, root: Path, config: SpoolConfig, seed: str, world: World, sealer: Sealer | None
    ) -> None:
        self._sealer = sealer
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._seed, self.world, self._config, self._root = seed, world, config, root
        self._order = Order(world)
        self._wall_s = self._dice.uniform(0, 2e9)
        self._wrong: Wrong | None = None

    def disturbed(self) -> None:
        """Until its time is over, or it dies."""
        run_fast(self._live(self._disturbances))

    def calm(self) -> None:
        """Until everything has arrived; raises Wrong where it does not."""
        run_fast(self._live(self._drained))

    async def _live(self, story: Callable[[Spool, Broker], Any]) -> None:
        loop = asyncio.get_running_loop()
        broker = Broker(self._dice, self._arrived, lambda item: say("effect", item.id))
        thread = WatchedThread("spool")
        spool = Spool(
            self._root / "spool.db",
            self._config,
            "dev",
            broker,
            thread,
            lambda: self._wall_s + loop.time(),
            self._sealer,
        )
        broker.device = spool
        async with asyncio.TaskGroup() as group:
            running = group.create_task(spool.run())
            await story(spool, broker)
            running.cancel()
        broker.cut()
        await spool.close()
        thread.close()
        if self._wrong:
            raise self._wrong

    def _arrived(self, item: Item) -> None:
        say("arrived", item.id, item.seq, item.spool, item.topic, item.payload.decode())
        try:
            self._order.arrive(item)
        except Wrong as exc:
            self._wrong = self._wrong or exc

    async def _disturbances(self, spool: Spool, broker: Broker) -> None:
        async with asyncio.TaskGroup() as group:
            for kind in Kind:
                group.create_task(self._produce(spool, kind))
            group.create_task(self._break_things(broker))

    async def _produce(self, spool: Spool, kind: Kind) -> None:
        dice = random.Random(f"{self._seed} {kind}")  # noqa: S311 - repeatable, not secret
        many = kind is Kind.TELEMETRY
        for n in range(dice.randint(0, 60 if many else 12)):
            await asyncio.sleep(dice.choice((0, 0.01, 1, 30)))
            names = [f"{kind}-{self._seed}-{n}-{part}" for part in range(dice.choice((1, 1, 1, 5)))]
            records = [
                Record(id=name, kind=kind, topic=TOPICS[kind], payload=payload(name)) for name in names
            ]
            for _ in names if many else ():
                say("try")
            try:
                await spool.put(*records)
                say("kept", *names)
                if dice.random() < 0.1:  # a producer that is not sure says it again
                    await spool.put(*records)
            except (StorageError, Overloaded):
                await asyncio.sleep(1)

    async def _break_things(self, broker: Broker) -> None:
        dice = random.Random(f"{self._seed} fate")  # noqa: S311 - repeatable, not secret
        for _ in range(dice.randint(2, 25)):
            await asyncio.sleep(dice.expovariate(1 / 15))
            match dice.choice(
                ("connect", "connect", "cut", "kill", "deaf", "clock", "disk", "full", "repair")
            ):
                case "connect" if broker.terms is None:
                    broker.connect()
                case "cut":
                    broker.cut()
                case "kill":
                    broker.kill()
                case "deaf":
                    broker.fleet = not broker.fleet
                case "clock":
                    self._wall_s += dice.choice((-1e9, -86_400, 3600, 86_400, 1e9))
                case "disk":
                    fail(*dice.choice(FAULTS))
                case "full":
                    room(dice.choice((0, 20_000, 200_000)))
                case "repair":
                    fail()
                    room(None)
                case _:
                    pass
        fail()
        room(None)

    async def _drained(self, spool: Spool, broker: Broker) -> None:
        loop = asyncio.get_running_loop()
        broker.connect()
        end_s, empty_s = loop.time() + CALM_S, 0.0
        while empty_s < REPORTED_S:  # what went in the meantime is reported now and then
            await asyncio.sleep(60)
            left = any(total.count for total in spool.status().records.values())
            empty_s = 0.0 if left else empty_s + 60
            if loop.time() > end_s:
                raise Wrong(f"does not drain: {spool.status()}")


def say(*words: object) -> None:
    """Into the log, in the order of what happens."""
    note(msgspec.json.encode(words).decode())


def run(seed: int, seen: Counter[str] | None = None) -> str | None:
    """One run by its seed; what went wrong, or None."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    config = SpoolConfig(
        ack=dice.choice(("end-to-end", "end-to-end", "broker")),
        budget_bytes=262_144,
        batch_max=dice.choice((1, 7, 200)),
        batch_s=dice.choice((0.0, 5.0, 60.0)),
        daily_bytes=dice.choice((None, None, 70_000)),
        telemetry_ttl_s=dice.choice((30.0, 7 * 86_400.0)),
        resend_s=dice.choice((5.0, 900.0)),
    )
    sealer = FixedKeys() if seed % 2 else None
    world = World()
    folder = Path(tempfile.mkdtemp(prefix="spool-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        root = folder / "0"
        root.mkdir()
        for number in range(1, dice.randint(2, 4)):
            root = _power_cut(
                dice, root, folder / str(number), Life(root, config, f"{seed}.{number}", world, sealer)
            )
        log = live(root, Life(root, config, f"{seed}.calm", world, sealer).calm)
        world.hear(log.notes())
        if log.returncode:
            return f"the calm life ended with {log.returncode}"
        world.judge(end_to_end=config.ack == "end-to-end")
        if seen is not None:
            seen.update(world.counts())
    except Wrong as exc:
        return str(exc)
    except Exception as exc:  # noqa: BLE001 - a crash of what is under test is a finding like any other
        return f"{type(exc).__name__}: {exc}"
    finally:
        shutil.rmtree(folder)
    return None


def _power_cut(dice: random.Random, root: Path, after: Path, life: Life) -> Path:
    """A life on `root` that ends somewhere; what is left of the disk."""
    faults = [Fault("KILL", "any", dice.randint(1, 400))] if dice.random() < 0.5 else []
    log = live(root, life.disturbed, faults)
    if log.returncode not in (0, -9):
        raise Wrong(f"a life ended with {log.returncode}")
    at = dice.randint(0, len(log)) if dice.random() < 0.7 else len(log)
    life.world.hear(log.notes(at))
    life.world.cuts += 1
    return log.cut(at, dice.choice((0, 1, dice.randint(2, 1 << 30)))).write(after)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos spool", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args(argv)
    restart_with_shim()
    logging.disable()
    failures, seen = 0, Counter[str]()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        if (said := run(seed, seen)) is not None:
            failures += 1
            print(f"seed {seed}: {said}\n  replay: ./dev chaos spool --seed {seed} --runs 1")
    print(", ".join(f"{name}: {count}" for name, count in seen.items()))
    print(f"spool: {arguments.runs} runs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
