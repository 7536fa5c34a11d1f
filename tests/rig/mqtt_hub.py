"""A broker in memory, for the event loop: topics, retained messages, No Local, user properties, wills and an ACL.

Who connects gets a `Line`, a `Publisher`; messages are delivered when the loop turns, in one order for all, as
mosquitto does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from edged.errors import Overloaded, Unreachable
from edged.links.mqtt.values import Handler, Properties, Publication, Subscription, Terms

Rule = Callable[[str, str], bool]
"""(client id, topic) to whether that client may publish there."""


def matches(wanted: str, topic: str) -> bool:
    """MQTT 5, 4.7: filters with + and #; a wildcard at the start matches no topic of `$`."""
    if topic.startswith("$") and wanted[:1] in "+#":
        return False
    levels, parts = wanted.split("/"), topic.split("/")
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= len(parts) or level not in ("+", parts[index]):
            return False
    return len(levels) == len(parts)


def anybody_may_anything(_client: str, _topic: str) -> bool:
    return True


def shipped(server_id: str) -> Rule:
    """What docs/mqtt.md's ACL allows: each client its own topics, the server its own."""

    def allowed(client: str, topic: str) -> bool:
        levels = topic.lstrip("$").split("/")
        if client.startswith(server_id):
            return levels[1:3] in (["presence", server_id], ["capability", server_id]) or (
                levels[0] == "mcp-rpc" and levels[2] == server_id
            )
        return (
            (levels[0] == "mcp-server" and levels[1] not in ("presence", "capability"))
            or (levels[0] == "mcp-rpc" and levels[1] == client)
            or (levels[:2] == ["mcp-client", "presence"] and levels[2] == client)
        )

    return allowed


class Hub:
    """The broker."""

    def __init__(self, rule: Rule = anybody_may_anything, packet_max_bytes: int | None = None) -> None:
        self.rule = rule
        self.packet_max_bytes = packet_max_bytes
        self.lines: list[Line] = []
        self.retained: dict[str, Publication] = {}
        self.seen: list[tuple[str, Publication]] = []
        self._queue: deque[Callable[[], object]] = deque()
        self._faults: list[Exception] = []
        self._loop = asyncio.get_running_loop()

    def connect(
        self,
        client_id: str,
        handler: Handler | None = None,
        subscriptions: Iterable[Subscription] = (),
        will: Publication | None = None,
    ) -> Line:
        """A connection, subscribed."""
        line = Line(self, client_id, handler, tuple(subscriptions), will)
        self.lines.append(line)
        for subscription in line.subscriptions:
            for topic, publication in self.retained.items():
                if matches(subscription.filter, topic):
                    self.later(lambda p=publication: line.deliver(p))  # type: ignore[misc] # a default binds it
        if handler:
            handler.connected(line.terms_)
        return line

    def route(self, sender: Line, publication: Publication) -> int:
        """Deliver to whoever subscribed; the PUBACK's reason code."""
        if not self.rule(sender.client_id, publication.topic):
            return 0x87
        self.seen.append((sender.client_id, publication))
        if publication.retain:
            if publication.payload:
                self.retained[publication.topic] = publication
            else:
                self.retained.pop(publication.topic, None)
        heard = False
        for line in self.lines:
            for subscription in line.subscriptions:
                if subscription.no_local and line is sender:
                    continue
                if matches(subscription.filter, publication.topic):
                    heard = True
                    qos = min(publication.qos, subscription.qos)
                    line.deliver(msgspec.structs.replace(publication, retain=False, qos=qos))
        return 0 if heard else 0x10

    def later(self, step: Callable[[], object]) -> None:
        """Do this in its turn."""
        self._queue.append(step)
        if len(self._queue) == 1:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        step = self._queue[0]
        try:
            step()
        except Exception as exc:  # noqa: BLE001 - a handler's fault is the test's failure, in `settle`
            self._faults.append(exc)
        self._queue.popleft()
        if self._queue:
            self._loop.call_soon(self._turn)

    async def settle(self) -> None:
        """Until nothing is on its way any more; raises what a handler raised."""
        for _ in range(3):
            while self._queue:  # noqa: ASYNC110 - turns of the loop are what is waited for
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        if self._faults:
            raise self._faults.pop(0)


class Line:
    """One connection; `inbox` is what a line without a handler got."""

    def __init__(
        self,
        hub: Hub,
        client_id: str,
        handler: Handler | None,
        subscriptions: tuple[Subscription, ...],
        will: Publication | None,
    ) -> None:
        self.client_id = client_id
        self.subscriptions = subscriptions
        self.inbox: list[Publication] = []
        self.terms_ = Terms(broker="hub", client_id=client_id, packet_max_bytes=hub.packet_max_bytes)
        self.open = True
        self.full = False
        """Whether what is published now finds too much waiting."""
        self._hub = hub
        self._handler = handler
        self._will = will

    @property
    def terms(self) -> Terms | None:
        return self.terms_ if self.open else None

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self.open or self.full:
            future.set_exception(Overloaded("full", 1.0) if self.open else Unreachable("closed"))
            future.exception()
        else:
            self._hub.later(lambda: self._route(publication, future))
        return future

    def publish_from_thread(self, publication: Publication) -> None:
        self._hub._loop.call_soon_threadsafe(self.publish, publication)

    def say(self, topic: str, message: object, *, qos: int = 1, **properties: Any) -> None:
        """Publish a message, as JSON unless it is bytes."""
        payload = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.publish(Publication(topic=topic, payload=payload, qos=qos, properties=Properties(**properties)))

    def deliver(self, publication: Publication) -> None:
        if not self.open:
            return
        if self._handler:
            self._handler.received(publication)
        else:
            self.inbox.append(publication)

    def lose(self, *, will: bool = True) -> None:
        """Break the connection."""
        self.open = False
        self._hub.lines.remove(self)
        if will and self._will:
            publication = self._will
            self._hub.later(partial(self._hub.route, self, publication))
        if self._handler:
            self._handler.disconnected("lost")

    def _route(self, publication: Publication, future: asyncio.Future[int]) -> None:
        code = self._hub.route(self, publication)
        if not future.done():
            future.set_result(code)
