"""What is on its way to the broker: in order, counted, and bounded by what both sides said they hold."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from edged.errors import EdgedError, Overloaded, Rejected, TooLarge
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.properties import packed, packet_bytes
from edged.links.mqtt.values import Publication

_RETRY_AFTER_S: Final = 1.0
_IN_FLIGHT_MAX: Final = (
    4096  # far below the number of packet identifiers, so that a free one is found at once
)


class Grant(NamedTuple):
    """What the broker takes (MQTT 5, 3.2.2.3)."""

    in_flight_max: int = 65535
    packet_max_bytes: int | None = None
    qos_max: int = 1
    retains: bool = True


class Item(NamedTuple):
    """A publication with its properties packed; `qos` is what the broker takes of the one asked for."""

    publication: Publication
    properties: bytes
    size: int
    qos: int
    future: asyncio.Future[int]


class Outgoing:
    """Sends what it may with `send`, which gives the packet's identifier, and keeps the rest in order.

    `unsent` says how many bytes the network has not taken yet.
    """

    def __init__(self, config: MqttConfig, send: Callable[[Item], int], unsent: Callable[[], int]) -> None:
        self._config = config
        self._send = send
        self._unsent = unsent
        self._in_flight: dict[int, Item] = {}
        self._waiting: deque[Item] = deque()
        self._held_bytes = 0
        self.grant = Grant()

    @property
    def under_way(self) -> int:
        """How many the broker has not acknowledged, or the network not taken."""
        return len(self._in_flight) + len(self._waiting) or int(self._unsent() > 0)

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """See Publisher; Rejected too for what the broker or MQTT cannot carry."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            item = self._admit(publication, future)
            if not item.qos:
                self._send(item)
                future.set_result(0)
            elif self._waiting or not self._free:
                self._waiting.append(item)
            else:
                self._in_flight[self._send(item)] = item
            self._held_bytes += item.size if item.qos else 0
        except EdgedError as exc:
            fail(future, exc)
        return future

    def acknowledged(self, identifier: int, code: int) -> None:
        """The broker's answer to what bears the identifier, if anything does."""
        if (item := self._in_flight.pop(identifier, None)) is None:
            return
        self._held_bytes -= item.size
        if not item.future.done():
            item.future.set_result(code)

    def go_on(self) -> None:
        """Send what there is room for now; what its sender has given up is left out."""
        while self._waiting and self._free:
            item = self._waiting.popleft()
            if item.future.cancelled():
                self._held_bytes -= item.size
            else:
                self._in_flight[self._send(item)] = item

    def fail(self, exc: EdgedError) -> None:
        """The connection is gone: so is everything on its way."""
        items = (*self._in_flight.values(), *self._waiting)
        self._in_flight.clear()
        self._waiting.clear()
        self._held_bytes = 0
        for item in items:
            fail(item.future, exc)

    @property
    def _free(self) -> int:
        return max(0, min(self.grant.in_flight_max, _IN_FLIGHT_MAX) - len(self._in_flight))

    def _admit(self, publication: Publication, future: asyncio.Future[int]) -> Item:
        """Measure it, and raise what keeps it from being sent."""
        if publication.retain and not self.grant.retains:
            raise Rejected("this broker keeps no retained messages")
        properties = packed(publication.properties)
        qos = min(publication.qos, self.grant.qos_max, 1)
        size = packet_bytes(publication.topic, properties, len(publication.payload), qos)
        most = self.grant.packet_max_bytes
        if most is not None and size > most:
            raise TooLarge(f"a packet of {size} bytes, where this broker takes {most} (Maximum Packet Size)")
        held = self._held_bytes + self._unsent()
        if len(self._waiting) >= self._config.waiting_max or 0 < held > self._config.waiting_max_bytes - size:
            raise Overloaded(f"{self.under_way} messages wait for the broker already", _RETRY_AFTER_S)
        return Item(publication, properties, size, qos, future)


def fail(future: asyncio.Future[int], exc: EdgedError) -> None:
    """Let it fail, whether or not anybody ever looks."""
    if not future.done():
        future.set_exception(exc)
        future.exception()  # or asyncio complains of nobody having looked
