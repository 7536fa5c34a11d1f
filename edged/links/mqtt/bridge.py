"""Standard streams to a device across a broker, for hosts that only speak stdio; either era.

Messages pass as they are. What the bridge adds is what a pipe has and MQTT has not: a request whose answer cannot come
any more is answered with an error, and a handshake is made again with a device that has forgotten it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from edged.errors import EdgedError, NotAllowed, Unreachable
from edged.links.mqtt import messages, presence
from edged.links.mqtt.client import hello, of_client, properties
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection
from edged.links.mqtt.guard import NOT_AUTHORIZED
from edged.links.mqtt.messages import Peek
from edged.links.mqtt.values import Publication, Subscription, Terms
from edged.mcp import jsonrpc
from edged.mcp.jsonrpc import Failure, Id

_LISTEN: Final = "subscriptions/listen"
_GONE: Final = jsonrpc.notification(presence.GONE, {})


class Bridge:
    """Carries one host's messages; for the event loop's thread. `sink` takes a message of the device's, a line.

    `me` is the host's MCP client id, which nobody else may use at the same time; `wait_s` how long a message
    waits for the device to be there.
    """

    def __init__(
        self, config: MqttConfig, device: str, me: str, sink: Callable[[bytes], None], wait_s: float = 10.0
    ) -> None:
        self._wait_s = wait_s
        self._device = device
        self._me = me
        self._sink = sink
        self._properties = properties(me, config)
        top = f"{config.prefix}mcp-server/"
        self._control = f"{top}{device}/"
        self._presence = f"{top}presence/{device}/"
        self._capability = f"{top}capability/{device}/"
        self._rpc = f"{config.prefix}mcp-rpc/{me}/{device}/"
        gone = Publication(topic=f"{config.prefix}mcp-client/presence/{me}", payload=_GONE)
        said = hello(me)
        self.connection = Connection(
            config,
            said.client_id,
            self,
            will=gone,
            user=said.user,
            subscriptions=[
                Subscription(filter=f"{self._rpc}#", no_local=True),
                Subscription(filter=f"{self._capability}#"),
                Subscription(filter=f"{self._presence}#"),
            ],
        )
        self._name = ""
        self._boot = ""
        self._begun = False
        self._there = asyncio.Event()
        self._due: dict[Id, str] = {}
        self._settled = asyncio.Event()
        self._handshake: tuple[Id, bytes] | None = None
        self._initialized: bytes | None = None
        self._again: Id | None = None  # of a handshake made again, whose answer the host has had before

    async def say(self, line: bytes) -> None:
        """Pass on a message of the host's; wait for the device a while where it is not there."""
        peek = messages.peek(line)
        if (asked := peek.asks) is not None:
            self._due[asked] = str(peek.method)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._there.wait()
        if not self._there.is_set():
            self._refuse(asked, Unreachable(self._absence()))
            return
        if asked is not None and peek.method == "initialize":
            self._handshake, self._initialized = (asked, line), None
        elif peek.method == "notifications/initialized":
            self._initialized = line
        self._send(peek, line)

    async def finish(self) -> None:
        """The host says no more: wait for the answers that are due, and say goodbye."""
        for asked in [asked for asked, method in self._due.items() if method == _LISTEN]:
            del self._due[asked]
        while self._due:
            self._settled.clear()
            await self._settled.wait()
        if self._there.is_set():
            with contextlib.suppress(EdgedError):
                await self._publish(self._rpc, _GONE)

    # ---- what the connection tells

    def connected(self, terms: Terms) -> None:
        """See Handler; the device's presence comes next."""

    def disconnected(self, reason: str) -> None:
        """See Handler."""
        self._away(f"the connection to the broker is gone: {reason}")

    def received(self, publication: Publication) -> None:
        """See Handler."""
        topic, payload = publication.topic, publication.payload
        if topic.startswith(self._presence):
            self._heard_presence(topic.removeprefix(self._presence), payload)
        elif topic.startswith(self._rpc):
            if not of_client(publication):
                self._heard(payload)
        elif self._handshake:
            self._pass_on(payload)

    def _heard_presence(self, name: str, payload: bytes) -> None:
        if not payload:
            self._away(f"{self._device} went away")
            return
        found = presence.heard(payload)
        boot = found.boot if found else ""
        if self._name and boot != self._boot:
            self._away(f"{self._device} started anew")
        if not self._name:
            self._name, self._boot = name, boot
            self._begin()

    def _begin(self) -> None:
        """The device is there: have it forget an earlier host of this name, or remember this one."""
        if not self._begun:
            self._begun = True
            self._publish(self._rpc, _GONE)
        if self._handshake is None:
            self._there.set()
        else:
            self._again, line = self._handshake
            self._publish(self._control, line)

    def _heard(self, payload: bytes) -> None:
        peek = messages.peek(payload)
        if peek.method is msgspec.UNSET and not isinstance(peek.id, msgspec.UnsetType):
            if self._again is not None and peek.id == self._again:
                self._made_again()
                return
            self._due.pop(peek.id, None)
            self._settled.set()
        self._pass_on(payload)

    def _made_again(self) -> None:
        self._again = None
        if self._initialized:
            self._publish(self._rpc, self._initialized)
        self._there.set()

    # ---- both ways

    def _send(self, peek: Peek, line: bytes) -> None:
        control = peek.method == "initialize" and peek.asks is not None
        sent = self._publish(self._control if control else self._rpc, line)
        sent.add_done_callback(partial(self._sent, peek.asks))

    def _sent(self, asked: Id | None, sent: asyncio.Future[int]) -> None:
        if exc := sent.exception():
            self._refuse(asked, exc if isinstance(exc, EdgedError) else Unreachable(str(exc)))
        elif sent.result() == NOT_AUTHORIZED:
            self._refuse(
                asked, NotAllowed(f"the broker does not let you talk to {self._device} as {self._me}")
            )
        elif sent.result() >= 0x80:
            self._refuse(
                asked, Unreachable(f"the broker refuses the message: reason code {sent.result():#x}")
            )

    def _publish(self, place: str, payload: bytes) -> asyncio.Future[int]:
        message = Publication(topic=place + self._name, payload=payload, properties=self._properties)
        return self.connection.publish(message)

    def _pass_on(self, payload: bytes) -> None:
        self._sink(payload.replace(b"\r", b" ").replace(b"\n", b" "))  # between tokens, or it is no JSON

    def _away(self, reason: str) -> None:
        """Nothing that is due will be answered."""
        self._name = self._boot = ""
        self._again = None
        self._there.clear()
        for asked in tuple(self._due):
            self._refuse(asked, Unreachable(reason))

    def _refuse(self, asked: Id | None, exc: EdgedError) -> None:
        if asked is not None and self._due.pop(asked, None) is not None:
            code = jsonrpc.BUSY if exc.retryable else jsonrpc.INTERNAL_ERROR
            self._sink(jsonrpc.error(Failure(code, exc.message, exc.details()), asked))
        self._settled.set()

    def _absence(self) -> str:
        if self.connection.terms:
            return f"{self._device} is not on this broker, or you may not see it"
        return f"no connection to a broker: {self.connection.health.reason}"
