"""A broker, its line to the device, and a fleet manager behind it: in memory, by the loop's clock, with seeded delays.

A message goes to the broker (lost where the line breaks first), is acknowledged (likewise), and goes on to the fleet
(lost where the broker is killed first), which answers on the acknowledgement's topic (lost where the line is broken).
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from edged.errors import Unreachable
from edged.links.mqtt.values import Publication, Terms


class Device(Protocol):
    """What the broker knows of the spool."""

    @property
    def ack_topic(self) -> str: ...

    def connected(self, terms: Terms) -> None: ...

    def disconnected(self, reason: str) -> None: ...

    def received(self, publication: Publication) -> None: ...


class Item(NamedTuple):
    """A record as a subscriber sees it."""

    id: str
    seq: int
    spool: str
    topic: str
    payload: bytes


def unpacked(message: Publication) -> list[Item]:
    """The records in a message, by what `packing` documents for subscribers."""
    user = dict(message.properties.user)
    payload = message.payload
    if user.get("content-encoding") == "deflate":
        payload = zlib.decompress(payload)
    if "id" in user:
        return [Item(user["id"], int(user["seq"]), user["spool"], message.topic, payload)]
    samples: list[dict[str, Any]] = msgspec.json.decode(payload)
    return [
        Item(s["id"], s["seq"], user["spool"], message.topic, msgspec.json.encode(s["sample"]))
        for s in samples
    ]


class Broker:
    """The `Publisher` of a spool. Begins without a line to it; `device` is set by whoever builds both."""

    def __init__(
        self, dice: random.Random, on_arrival: Callable[[Item], None], on_effect: Callable[[Item], None]
    ) -> None:
        self._dice, self._on_arrival, self._on_effect = dice, on_arrival, on_effect
        self.device: Device | None = None
        self.terms: Terms | None = None
        self.code = 0
        """What it answers a message with."""
        self.fleet = True
        """Whether the fleet manager listens."""
        self.messages: list[Publication] = []
        """Every message that arrived."""
        self._line, self._life = 0, 0
        self._waiting: list[asyncio.Future[int]] = []
        self._clear_s = 0.0

    def connect(self) -> None:
        """A line from now on."""
        assert self.device is not None
        self.terms = Terms(broker="mqtt://broker", client_id="device", receive_max=20)
        self.device.connected(self.terms)

    def cut(self) -> None:
        """The line breaks, whatever is in it."""
        self.terms = None
        self._line += 1
        for future in self._waiting:
            if not future.done():
                future.set_exception(Unreachable("the line broke"))
        self._waiting.clear()
        if self.device is not None:
            self.device.disconnected("cut")

    def kill(self) -> None:
        """It forgets what it has not passed on."""
        self.cut()
        self._life += 1

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """See `Publisher`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.terms is None:
            future.set_exception(Unreachable("no line"))
            return future
        self._waiting = [each for each in self._waiting if not each.done()]
        self._waiting.append(future)
        self._clear_s = max(self._clear_s + 1e-6, loop.time() + self._dice.uniform(0.001, 0.2))
        loop.call_at(self._clear_s, self._arrive, publication, future, self._line)
        return future

    def publish_from_thread(self, publication: Publication) -> None:
        """See `Publisher`."""
        raise NotImplementedError(publication)

    def _arrive(self, publication: Publication, future: asyncio.Future[int], line: int) -> None:
        if line != self._line:
            return
        loop = asyncio.get_running_loop()
        if self.code < 0x80:
            self.messages.append(publication)
            for item in unpacked(publication):
                self._on_arrival(item)
            loop.call_later(self._dice.uniform(0, 1), self._deliver, publication, self._life)
        loop.call_later(self._dice.uniform(0.001, 0.1), self._acknowledge, future, self.code, line)

    def _acknowledge(self, future: asyncio.Future[int], code: int, line: int) -> None:
        if line == self._line and not future.done():
            future.set_result(code)

    def _deliver(self, publication: Publication, life: int) -> None:
        if life != self._life or not self.fleet or self.device is None:
            return
        items = unpacked(publication)
        for item in items:
            self._on_effect(item)
        loop = asyncio.get_running_loop()
        payload = msgspec.json.encode({"ids": [item.id for item in items]})
        answer = Publication(topic=self.device.ack_topic, payload=payload)
        loop.call_later(self._dice.uniform(0, 2), self._answer, answer, self._line)

    def _answer(self, answer: Publication, line: int) -> None:
        if line == self._line and self.terms is not None and self.device is not None:
            self.device.received(answer)
