"""One network connection to one broker, from CONNECT to its end: paho's packets on a stream of our own.

A paho client is made for each connection and never connects again by itself, so that nothing of an old one (its
queue, its resends, its idea of being connected) can reach into a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edged.errors import Unreachable
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.outgoing import Grant, Item, Outgoing, fail
from edged.links.mqtt.properties import packed
from edged.links.mqtt.values import Properties, Publication, Subscription, Terms
from edged.links.mqtt.wire import Wire

TAKEN_OVER: Final = 0x8E  # MQTT 5, 3.14.2.1
_NORMAL: Final = 0x00
_WITH_WILL: Final = 0x04
_PINGREQ: Final = (
    b"\xc0\x00"  # MQTT 5, 3.12; paho's own keepalive gives up slow downloads, so it is not asked
)
_TICK_S: Final = 1.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Lost(Unreachable):
    """The connection is gone, or was never granted.

    `code` is the reason code of the broker's DISCONNECT, CONNACK or SUBACK; `silent`: it just stopped answering;
    `closed`: it closed a granted connection and gave no reason.
    """

    def __init__(
        self, message: str, code: int | None = None, *, silent: bool = False, closed: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent
        self.closed = closed


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of us at a connect."""

    client_id: str
    username: str = ""
    password: bytes | None = None
    will: Publication | None = None
    user: tuple[tuple[str, str], ...] = ()


class Session:
    """For the event loop's thread. `ended` is done when the connection is gone, with why."""

    def __init__(
        self, wire: Wire, url: str, config: MqttConfig, hello: Hello, received: Callable[[Publication], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._url = url
        self._config = config
        self._hello = hello
        self._received = received
        self._keepalive_s = config.keepalive_s
        self._pinged = 0.0
        self._granted: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._subscribed: asyncio.Future[Sequence[ReasonCode]] = self._loop.create_future()
        self._drained: asyncio.Future[None] | None = None  # of who waits for nothing to be under way
        self._outgoing = Outgoing(config, self._send, lambda: wire.unsent)
        self._reading = False
        self._writing = False
        self._parting = "closed"
        self._timer: asyncio.TimerHandle | None = None
        self._client = self._make_client()
        self.ended: asyncio.Future[Lost] = self._loop.create_future()

    @property
    def under_way(self) -> int:
        """Publications that the broker has not acknowledged."""
        return self._outgoing.under_way

    async def open(self) -> Terms:
        """Connect; raises Lost where the broker refuses."""
        properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = self._config.receive_max
        properties.MaximumPacketSize = self._config.packet_max_bytes
        if self._hello.user:
            properties.UserProperty = list(self._hello.user)
        self._loop.add_reader(self._wire.fileno(), self._readable)
        with self._guarded():
            self._client.connect("broker", 1, self._keepalive_s, clean_start=True, properties=properties)
        self._schedule()
        granted = await self._unless_ended(self._granted)
        self._keepalive_s = granted.get("ServerKeepAlive", self._keepalive_s)
        self._outgoing.grant = Grant(
            granted.get("ReceiveMaximum", 65535),
            granted.get("MaximumPacketSize"),
            granted.get("MaximumQoS", 1),
            bool(granted.get("RetainAvailable", 1)),
        )
        return Terms(
            broker=self._url,
            client_id=granted.get("AssignedClientIdentifier", self._hello.client_id),
            packet_max_bytes=self._outgoing.grant.packet_max_bytes,
            receive_max=self._outgoing.grant.in_flight_max,
            user=tuple(granted.get("UserProperty", ())),
        )

    async def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribe to all at once; raises Lost where the broker refuses one that is not optional."""
        wanted = list(subscriptions)
        if not wanted:
            return
        with self._guarded():
            options = [(s.filter, SubscribeOptions(qos=s.qos, noLocal=s.no_local)) for s in wanted]
            self._client.subscribe(options)
        answers = await self._unless_ended(self._subscribed)
        for subscription, reason in zip(wanted, answers, strict=False):
            if reason.is_failure:
                refused = f"the broker refuses the subscription to {subscription.filter}: {reason}"
                if not subscription.optional:
                    raise Lost(refused, reason.value)
                _log.warning("%s", refused)

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """See Publisher."""
        if self.ended.done():
            future: asyncio.Future[int] = self._loop.create_future()
            fail(future, Unreachable(self.ended.result().message))
            return future
        future = self._outgoing.publish(publication)
        if not self._reading:  # else it leaves together with what is read
            with self._guarded():
                pass
        return future

    async def close(self, grace_s: float) -> None:
        """Let what is under way be acknowledged, say DISCONNECT, and end."""
        await self._part("closed", grace_s, _NORMAL)

    async def leave(self, reason: str, grace_s: float) -> None:
        """Likewise, but the broker publishes the will: whoever looks for us there shall not find us."""
        await self._part(reason, grace_s, _WITH_WILL)

    async def _part(self, reason: str, grace_s: float, code: int) -> None:
        if not self.ended.done() and self._outgoing.under_way:
            self._drained = self._loop.create_future()
            await _first(self.ended, self._drained, timeout_s=grace_s)
        if not self.ended.done():
            self._parting = reason
            with self._guarded():
                self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=code))
        self.end(Lost(reason))

    def end(self, lost: Lost) -> None:
        """Let go of it, at once; what is under way fails. Does nothing after the first time."""
        if self.ended.done():
            return
        self.ended.set_result(lost)
        if self._timer:
            self._timer.cancel()
        self._let_go()
        self._wire.close()
        self._outgoing.fail(Unreachable(lost.message))

    # ---- the network

    def _let_go(self, *_: object) -> None:
        if (descriptor := self._wire.fileno()) >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)

    def _readable(self) -> None:
        if self.ended.done():
            return
        with self._guarded():
            more = self._wire.fill()
            self._reading = True
            while self._wire.received and not self.ended.done():
                self._client.loop_read()
            self._reading = False
            if self._wire.ended:
                self.end(Lost("the broker closed the connection", closed=self._granted.done()))
            self._outgoing.go_on()
            if more:
                self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        with self._guarded():
            pass

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Write what is ready at the end; whatever goes wrong ends this connection and nothing else."""
        try:
            yield
            self._flush()
        except OSError as exc:
            said = self._wire.last_words() or exc
            self.end(Lost(f"the connection broke: {said.strerror or said}"))
        except Exception as exc:  # noqa: BLE001 - paho raises anything at what it cannot read
            self.end(Lost(f"cannot go on with what the broker sent: {type(exc).__name__}: {exc}"))
        finally:
            self._reading = False

    def _flush(self) -> None:
        if not self.ended.done() and self._client.want_write():
            self._client.loop_write()
        if self.ended.done():
            return
        done = self._wire.flush()
        if done == self._writing:
            self._writing = not done
            if done:
                self._loop.remove_writer(self._wire.fileno())
            else:
                self._loop.add_writer(self._wire.fileno(), self._writable)
        if self._drained and not self._drained.done() and not self._outgoing.under_way:
            self._drained.set_result(None)

    def _send(self, item: Item) -> int:
        topic, payload, retain = item.publication.topic, item.publication.payload, item.publication.retain
        while True:
            info = self._client.publish(topic, payload, item.qos, retain, _Packed(item.properties))
            if info.rc != paho.MQTT_ERR_QUEUE_SIZE:  # the identifier that was next is still in flight
                return info.mid

    # ---- time

    def _schedule(self) -> None:
        """Look again when a sign of life may be due; on a whole second, so as to wake up with others."""
        due = self._quiet_since() + self._keepalive_s
        tick_s = min(_TICK_S, self._keepalive_s / 4)
        at = math.floor(max(due, self._loop.time()) / tick_s) * tick_s + tick_s
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        with self._guarded():
            now = self._loop.time()
            silent_s = now - self._last_sign_of_life()
            if silent_s >= 1.5 * self._keepalive_s:
                self.end(Lost(f"the broker has been silent for {silent_s:.0f} s", silent=True))
            elif now - max(self._pinged, self._quiet_since()) >= self._keepalive_s:
                self._pinged = now
                self._wire.send(_PINGREQ)
        if not self.ended.done():
            self._schedule()

    def _quiet_since(self) -> float:
        """Since when nothing went, or nothing came: the broker wants to hear us, and we want to hear it."""
        return min(self._wire.last_in, self._wire.last_out)

    def _last_sign_of_life(self) -> float:
        """While it is busy taking what we send, its answer may be late."""
        wire = self._wire
        return max(wire.last_in, wire.last_out) if wire.unsent else wire.last_in

    # ---- what paho calls

    def _make_client(self) -> paho.Client:
        client = _OnWire(self._wire, self._hello.client_id)
        client.max_inflight_messages = 0  # counted by us, for paho does not heed the broker's Receive Maximum
        client.on_socket_register_write = _nothing  # or paho would write by itself, packet by packet
        client.on_socket_close = self._let_go
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.username_pw_set(self._hello.username or None, self._hello.password)  # type: ignore[arg-type]  # bytes too
        if will := self._hello.will:
            client.will_set(will.topic, will.payload, will.qos, will.retain, _Packed(packed(will.properties)))
        return client

    def _on_connect(
        self,
        _client: object,
        _data: object,
        _flags: object,
        reason: ReasonCode,
        granted: PahoProperties | None,
    ) -> None:
        if reason.is_failure:
            self.end(Lost(f"the broker refuses the connection: {reason}", reason.value))
        elif not self._granted.done():
            self._granted.set_result(vars(granted) if granted else {})

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(reasons)

    def _on_publish(
        self, _client: object, _data: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        if self._reading:  # else it is QoS 0, of which paho tells too, by identifiers that mean nothing
            self._outgoing.acknowledged(mid, reason.value)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(
            UnicodeDecodeError
        ):  # MQTT 5, 1.5.4: the broker should not have taken that topic
            self._received(_publication(message))

    def _on_disconnect(
        self,
        _client: object,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.end(Lost(f"the broker ended the connection: {reason}", reason.value))
        else:
            broke = f"the connection broke: {self._wire.fault or reason}"
            self.end(Lost(broke if reason.value else self._parting))

    async def _unless_ended(self, future: asyncio.Future[T]) -> T:
        """What it gives; raises Lost where the connection ends first."""
        await _first(self.ended, future)
        if not future.done():
            raise self.ended.result()
        return future.result()


class _OnWire(paho.Client):
    """paho on a stream that is connected already."""

    def __init__(self, wire: Wire, client_id: str) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self._wire = wire

    def _create_socket(self) -> Wire:
        return self._wire


class _Packed(PahoProperties):
    """Properties that are bytes already: all that paho does with those it sends is to pack them."""

    def __init__(self, data: bytes) -> None:
        self.__dict__["data"] = data

    def pack(self) -> bytes:
        return bytes(self.__dict__["data"])


async def _first(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


def _nothing(*_: object) -> None:
    """Writing happens in `_flush`."""


def _publication(message: paho.MQTTMessage) -> Publication:
    found: dict[str, Any] = vars(message.properties) if message.properties else {}
    return Publication(
        topic=message.topic,
        payload=bytes(message.payload),
        qos=message.qos,
        retain=message.retain,
        properties=Properties(
            content_type=found.get("ContentType"),
            text=found.get("PayloadFormatIndicator", 0) == 1,
            expiry_s=found.get("MessageExpiryInterval"),
            response_topic=found.get("ResponseTopic"),
            correlation=found.get("CorrelationData"),
            user=tuple(found.get("UserProperty", ())),
        ),
    )
