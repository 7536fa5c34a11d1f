"""A spool on a real SQLite file, with a broker in memory and time that runs on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from edged.links.mqtt.values import Publication, Terms
from edged.links.spool.config import SpoolConfig
from edged.links.spool.service import Spool
from edged.links.spool.values import Kind, Record, Sealer
from tests.rig.fastloop import WatchedThread
from tests.rig.spool_broker import Broker, Item

HOUR_S = 3600.0
TERMS = Terms(broker="mqtt://b", client_id="dev")


def record(name: str, kind: Kind = Kind.ALERT, payload: bytes = b"{}") -> Record:
    return Record(id=name, kind=kind, topic=f"edged/v1/dev/up/{kind}", payload=payload)


class Desk:
    """A spool, a broker without a line to it, and what both have seen."""

    def __init__(self, path: Path, config: SpoolConfig, sealer: Sealer | None = None) -> None:
        self.path, self.config, self.sealer = path, config, sealer
        self.arrived: list[Item] = []
        self.broker = Broker(random.Random(1), self.arrived.append, lambda _: None)  # noqa: S311 - repeatable, not secret
        self.wall_s = 1.8e9
        self.spool = self._begin()

    def _begin(self) -> Spool:
        self.thread = WatchedThread("spool")
        spool = Spool(
            self.path, self.config, "dev", self.broker, self.thread, lambda: self.wall_s, self.sealer
        )
        self.broker.device = spool
        return spool

    async def restart(self, config: SpoolConfig | None = None) -> None:
        self.broker.cut()
        await self.close()
        self.config = config or self.config
        self.spool = self._begin()

    async def close(self) -> None:
        await self.spool.close()
        self.thread.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Broker]:
        """A line to the broker, and the spool's service."""
        task = asyncio.get_running_loop().create_task(self.spool.run())
        self.broker.connect()
        yield self.broker
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async def drain(self, within_s: float = HOUR_S) -> list[str]:
        """What arrives from now on."""
        before = len(self.arrived)
        async with self.running():
            await asyncio.sleep(within_s)
        self.broker.cut()
        return [item.id for item in self.arrived[before:]]

    def left(self) -> int:
        return sum(total.count for total in self.spool.status().records.values())


@contextlib.asynccontextmanager
async def desk(folder: Path, sealer: Sealer | None = None, **fields: object) -> AsyncIterator[Desk]:
    made = Desk(folder / "spool.db", SpoolConfig(**fields), sealer)  # type: ignore[arg-type] # by keyword, as in a file
    yield made
    await made.close()


def fleet(*names: str) -> Publication:
    return Publication(topic="edged/v1/dev/dn/ack", payload=msgspec.json.encode({"ids": names}))
