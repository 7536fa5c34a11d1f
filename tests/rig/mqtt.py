"""Who uses a connection in a test: it keeps what it is told, and can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection
from edged.links.mqtt.values import Publication, Subscription, Terms

PATIENCE_S = 60.0


class Ear:
    """A Handler that writes down what it hears."""

    def __init__(self) -> None:
        self.terms: list[Terms] = []
        self.heard: list[Publication] = []
        self.reasons: list[str] = []
        self.order: list[str] = []
        self.on_received: Callable[[Publication], None] | None = None
        self._changed = asyncio.Event()

    def connected(self, terms: Terms) -> None:
        self.terms.append(terms)
        self._note("connected")

    def received(self, publication: Publication) -> None:
        self.heard.append(publication)
        self._note("received")
        if self.on_received:
            self.on_received(publication)

    def disconnected(self, reason: str) -> None:
        self.reasons.append(reason)
        self._note("disconnected")

    async def until(self, holds: Callable[[Ear], bool]) -> None:
        """Wait for what the ear hears to be so."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(self):
                await self._changed.wait()

    async def connections(self, count: int) -> Terms:
        await self.until(lambda ear: len(ear.terms) >= count)
        return self.terms[-1]

    async def messages(self, count: int) -> list[Publication]:
        await self.until(lambda ear: len(ear.heard) >= count)
        return self.heard

    async def losses(self, count: int) -> str:
        await self.until(lambda ear: len(ear.reasons) >= count)
        return self.reasons[-1]

    def _note(self, what: str) -> None:
        self.order.append(what)
        self._changed.set()
        self._changed = asyncio.Event()


async def until(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for something that tells nobody when it changes."""
    async with asyncio.timeout(patience_s):
        while not holds():  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.005)


class Line:
    """A connection that runs, and its ear."""

    def __init__(self, connection: Connection, ear: Ear, task: asyncio.Task[None]) -> None:
        self.connection = connection
        self.ear = ear
        self.task = task

    async def say(self, topic: str, payload: bytes = b"", **how: Any) -> int:
        """Publish, and give the broker's answer."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.connection.publish(Publication(topic=topic, payload=payload, **how))


@contextlib.asynccontextmanager
async def online(
    config: MqttConfig,
    *filters: str | Subscription,
    name: str = "tester",
    ear: Ear | None = None,
    wait: bool = True,
    **more: Any,
) -> AsyncIterator[Line]:
    """Keep a connection until the end of the block; `wait` until it is there."""
    ear = ear or Ear()
    wanted: Sequence[Subscription] = [
        f if isinstance(f, Subscription) else Subscription(filter=f) for f in filters
    ]
    connection = Connection(config, name, ear, subscriptions=wanted, **more)
    task = asyncio.get_running_loop().create_task(connection.run())
    try:
        if wait:
            await ear.connections(1)
        yield Line(connection, ear, task)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
