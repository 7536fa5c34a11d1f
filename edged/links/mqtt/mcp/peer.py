"""One MQTT client: its conversation, and what its answers are to look like."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import Final, NamedTuple, Protocol

from edged.links.mqtt.mcp import cbor, fitting, messages
from edged.links.mqtt.mcp.answers import Key
from edged.links.mqtt.mcp.cbor import Incoming
from edged.links.mqtt.mcp.messages import Peek
from edged.links.mqtt.mcp.presence import CLIENT, COMPONENT, SERVER
from edged.links.mqtt.mcp.results import Held
from edged.links.mqtt.values import Properties, Publication
from edged.mcp.catalog import Principal
from edged.mcp.jsonrpc import Id
from edged.mcp.server import Server
from edged.mcp.session import Session
from edged.mcp.splice import Unspent

JSON: Final = "application/json"


class Asked(NamedTuple):
    """A request that came, as far as its answer goes."""

    room_bytes: int
    """The largest payload that may answer it."""
    key: Key | None = None
    cbor: bool = False
    qos: int = 1
    correlation: bytes | None = None
    until_s: float | None = None
    """When nobody waits for the answer any more, by the loop's clock."""


class Office(Protocol):
    """What a peer needs of the link."""

    @property
    def congested(self) -> bool:
        """Whether much waits for the broker."""

    def send(self, publication: Publication) -> None:
        """Publish, on the loop."""

    def send_from_thread(self, publication: Publication) -> None:
        """Publish, on any thread."""

    def broadcast(self, message: bytes) -> None:
        """Tell every handshake client; the same message only once a turn of the loop."""

    def answered(self, key: Key, publication: Publication, *, good: bool) -> None:
        """A request was answered; `good`: to run it again would change nothing."""

    def dropped(self, key: Key) -> None:
        """A request will not be answered."""

    def settled(self) -> None:
        """A call ended."""

    def keep(self, owner: str, data: bytes, mime: str, part_bytes: int) -> Held | None:
        """Set a large result down."""


class _Routed(Session):
    """A session that tells answers from what else it sends."""

    def __init__(self, server: Server, principal: Principal, wire: Peer, tasks: asyncio.TaskGroup) -> None:
        super().__init__(server, principal, wire, tasks)
        self._peer = wire

    def send_about(self, request_id: Id | None, message: bytes) -> None:
        """See `request.Outlet`."""
        self._peer.send_about(request_id, message)


class Peer:
    """The `Wire` of that conversation; `write` gets answers only."""

    def __init__(
        self,
        server: Server,
        principal: Principal,
        office: Office,
        tasks: asyncio.TaskGroup,
        *,
        topic: str,
        us: str,
    ) -> None:
        self.principal = principal
        self.declared_bytes: int | None = None
        """The largest packet the client said it takes."""
        self._office = office
        self._topic = topic
        self._user = ((COMPONENT, SERVER), (CLIENT, us))
        self._loop = asyncio.get_running_loop()
        self._asked: dict[Id, Asked] = {}
        self._current: Asked | None = None
        self._current_id: Id | None = None
        self._style = Asked(fitting.LIMIT_MIN_BYTES)
        self._told: deque[tuple[Key, Publication, bool]] = deque()
        self._muted = self._closed = False
        self._session = _Routed(server, principal, self, tasks)
        self.catch_up = self._session.catch_up
        self.end_subscriptions = self._session.end_subscriptions

    @property
    def busy(self) -> bool:
        """Whether something runs for it."""
        return self._session.busy

    def waits_for(self, request_id: Id | None) -> bool:
        """Whether the client waits for an answer under that id."""
        return request_id in self._asked

    @property
    def tier(self) -> int:
        """See `clients.Seat`."""
        return self.principal.tier

    def receive(self, incoming: Incoming, peek: Peek, asked: Asked, size_bytes: int) -> None:
        """Take in a message; `asked` says what its answer is to look like."""
        self._style = asked._replace(key=None, correlation=None, until_s=None)
        if (request_id := peek.asks) is not None and request_id not in self._asked:
            self._asked[request_id] = asked
        self._current, self._current_id = asked, request_id
        try:
            self._take(
                incoming, size_bytes, None if asked.until_s is None else asked.until_s - self._loop.time()
            )
        finally:
            self._current = self._current_id = None
        if (cancelled := peek.cancels) is not None:
            self._drop(cancelled)

    def replay(self, text: bytes) -> None:
        """Take in a message that was answered before."""
        self._muted = True
        try:
            self._session.receive(text)
        finally:
            self._muted = False

    def tell(self) -> None:
        """Pass on what threads have answered."""
        while self._told:
            key, publication, good = self._told.popleft()
            self._office.answered(key, publication, good=good)

    def close(self) -> None:
        """Cancel everything; nothing more is sent."""
        self.tell()
        self._closed = True
        self._session.close()

    def write(self, message: bytes) -> None:
        """See `session.Wire`."""
        if not (self._muted or self._closed):
            self._send(self._asked_for(message), message)

    def write_from_thread(self, message: bytes) -> None:
        """See `session.Wire`."""
        if self._closed:
            return
        request_id = messages.answered(message)
        asked = self._style if request_id is None else self._asked.pop(request_id, self._style)
        payload = _encoded(asked, message)
        if len(payload) > asked.room_bytes:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._send, asked, message)
            return
        publication = self._publication(asked, payload)
        if asked.key:
            self._told.append((asked.key, publication, messages.succeeded(message)))
        self._office.send_from_thread(publication)

    def send_about(self, request_id: Id | None, message: bytes) -> None:
        """See `request.Outlet`; what is about no request is for every handshake client."""
        if self._muted or self._closed:
            return
        if request_id is None:
            self._office.broadcast(message)
            return
        asked = self._asked.get(request_id, self._style)
        plain = asked._replace(correlation=None, until_s=None)
        self._office.send(self._publication(plain, _encoded(plain, message)))

    @property
    def congested(self) -> bool:
        """See `session.Wire`."""
        return self._office.congested

    def take_descriptor(self) -> int | None:
        """See `session.Wire`: MQTT passes none."""
        return None

    def settled(self) -> None:
        """See `session.Wire`."""
        self.tell()
        self._office.settled()

    def _take(self, incoming: Incoming, size_bytes: int, patience_s: float | None) -> None:
        try:
            self._session.take(incoming.text, incoming.splices, size_bytes, patience_s)
        except Unspent:
            self._session.take(incoming.whole(), None, size_bytes, patience_s)

    def _asked_for(self, message: bytes) -> Asked:
        """What a message answers, which is thereby over: the one that comes in now, or an earlier one."""
        request_id = messages.answered(message)
        current = self._current
        if request_id is None:
            return current or self._style
        if current is not None and request_id == self._current_id:
            if self._asked.get(request_id) is current:
                del self._asked[request_id]
            return current
        return self._asked.pop(request_id, self._style)

    def _send(self, asked: Asked, message: bytes) -> None:
        payload = _encoded(asked, message)
        if len(payload) > asked.room_bytes:
            payload = fitting.fit(message, self._room(asked, message))
        publication = self._publication(asked, payload)
        if asked.key:
            self._office.answered(asked.key, publication, good=messages.succeeded(message))
        self._office.send(publication)

    def _room(self, asked: Asked, message: bytes) -> fitting.Room:
        revision = self._session.revision
        return fitting.Room(
            size_bytes=asked.room_bytes,
            encode=lambda text: _encoded(asked, text),
            keep=lambda data, mime, part: self._office.keep(self.principal.name, data, mime, part),
            links=revision is None or revision.links or b'"resultType":' in message,
        )

    def _publication(self, asked: Asked, payload: bytes) -> Publication:
        until_s = asked.until_s
        return Publication(
            topic=self._topic,
            payload=payload,
            qos=asked.qos,
            properties=Properties(
                content_type=cbor.CONTENT_TYPE if asked.cbor else JSON,
                text=not asked.cbor,
                expiry_s=None if until_s is None else max(1, math.ceil(until_s - self._loop.time())),
                correlation=asked.correlation,
                user=self._user,
            ),
        )

    def _drop(self, request_id: Id) -> None:
        asked = self._asked.pop(request_id, None)
        if asked and asked.key:
            self._office.dropped(asked.key)


def _encoded(asked: Asked, message: bytes) -> bytes:
    return cbor.to_cbor(message) if asked.cbor else message
