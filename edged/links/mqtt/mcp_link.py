"""MCP on one MQTT connection: whose message it is, whether it is to be looked at, and where its answer goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Final

import msgspec

from edged import __version__
from edged.errors import BadCbor, Overloaded, TooLarge
from edged.links.mqtt import answers, cbor, fitting, messages, presence, reading
from edged.links.mqtt.allowance import Allowance
from edged.links.mqtt.announcing import Announcer
from edged.links.mqtt.answers import Answers, Before, Key
from edged.links.mqtt.clients import Clients
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.guard import Guard
from edged.links.mqtt.identity import Claim, Identity
from edged.links.mqtt.messages import Peek
from edged.links.mqtt.outbox import Outbox
from edged.links.mqtt.peer import JSON, Asked, Peer
from edged.links.mqtt.results import Held, Results
from edged.links.mqtt.status import McpStatus
from edged.links.mqtt.topics import Kind, Topics, check_id
from edged.links.mqtt.values import (
    DEFAULT_LIMIT_BYTES,
    Properties,
    Publication,
    Publisher,
    Subscription,
    Terms,
)
from edged.mcp import jsonrpc
from edged.mcp.access import Access
from edged.mcp.jsonrpc import Failure
from edged.mcp.server import Server
from edged.metrics import Tally

_log = logging.getLogger(__name__)

SWEEP_S: Final = 30.0
"""Between two looks for clients that fell silent."""
_REFUSE_EVERY_S: Final = 0.1
_INITIALIZED: Final = "notifications/initialized"
_INITIALIZE: Final = "initialize"


class McpLink:
    """The `Handler` of one connection, to be made on its loop; its `publisher` is set before that connects.

    `subscriptions`, `will` and `user` are what the connection is made with. `run` serves until `close`.
    """

    def __init__(
        self,
        server: Server,
        access: Access,
        config: MqttConfig,
        topics: Topics,
        *,
        boot_id: str,
        description: str = "",
        probe: bool = True,
    ) -> None:
        self._server = server
        self._access = access
        self._config = config
        self._topics = topics
        self._description = description
        self._loop = asyncio.get_running_loop()
        self._counts = Tally()
        self._outbox = Outbox(self._counts, self._catch_up)
        self._clients: Clients[Peer] = Clients(config.sessions_max, config.session_idle_s)
        self._answers = Answers(config.repeat_s, config.repeat_max_bytes)
        self._results = Results(lambda: secrets.token_urlsafe(9))
        self._allowance = Allowance()
        self._identity = Identity(boot_id)
        self._announcer = Announcer(self._identity, self._presence, self._outbox.send, self._changed)
        self._guard = Guard(topics, f"probe-{secrets.token_hex(8)}", self._end_all, probe=probe)
        self._terms: Terms | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._refused_s = float("-inf")
        self._broadcast: dict[bytes, None] = {}
        server.catalog.put(*reading.templates(self._results, self._loop.time))
        self.subscriptions = (
            Subscription(filter=topics.presence, optional=True),
            Subscription(filter=topics.every_client_presence),
            Subscription(filter=topics.control),
            Subscription(filter=topics.every_rpc, no_local=True),
        )
        self.will = self._presence(None)
        meta = msgspec.json.encode({"implementation": "edged", "version": __version__}).decode()
        self.user = ((presence.COMPONENT, presence.SERVER), ("MCP-META", meta))

    @property
    def publisher(self) -> Publisher | None:
        """Where answers leave."""
        return self._outbox.publisher

    @publisher.setter
    def publisher(self, publisher: Publisher) -> None:
        self._outbox.publisher = publisher

    @property
    def status(self) -> McpStatus:
        """How it is."""
        return McpStatus(
            server_id=self._topics.server_id,
            server_name=self._topics.server_name,
            boot_id=self._identity.boot,
            identity=self._identity.state,
            rival=self._identity.rival,
            conflicts=self._identity.conflicts,
            access=self._guard.proof,
            clients=len(self._clients),
            openings=self._clients.opening,
            answers_kept=len(self._answers),
            results_kept=len(self._results),
            counts=self._counts.by_name(),
        )

    async def run(self) -> None:
        """Serve until `close`; before the connection runs, and until after it has ended."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while not self._stopping.is_set():
                    await self._sweep()
            finally:
                self._tasks = None
                self._end_all()

    async def withdraw(self) -> None:
        """Say goodbye while the connection is there: no new request is taken, what runs has `grace_s` to end."""
        for _, peer in self._clients.all():
            peer.end_subscriptions()
        if self.publisher and self.publisher.terms:
            await self._announcer.withdraw(self.publisher)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.grace_s):
                    await self._idle()

    async def _idle(self) -> None:
        while any(peer.busy for _, peer in self._clients.all()):
            self._settled.clear()
            await self._settled.wait()

    def close(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    # ---- what the connection tells

    def connected(self, terms: Terms) -> None:
        """See `values.Handler`."""
        self._terms = terms
        wanted = dict(terms.user).get(presence.SERVER_NAME, self._topics.server_name)
        if wanted != self._topics.server_name:
            _log.warning("the broker wants the server name %r: set [mqtt] name", wanted)
        if self.publisher:
            self._guard.connected(self.publisher)
        self._announcer.connected()

    def disconnected(self, reason: str) -> None:
        """See `values.Handler`; who was there has heard our will, and begins anew."""
        _log.debug("clients gone n=%d reason=%s", len(self._clients), reason)
        self._terms = None
        self._end_all()
        self._guard.disconnected()
        self._announcer.disconnected()

    def received(self, publication: Publication) -> None:
        """See `values.Handler`."""
        place = self._topics.place(publication.topic)
        if place is None:
            self._counts.add("ignored: no client's topic")
        elif place.kind is Kind.PRESENCE:
            self._announcer.heard(publication)
        elif publication.retain:
            self._counts.add("ignored: retained")
        elif self._tasks is None or not self._identity.serving:
            self._counts.add("ignored: not serving")
        elif not publication.payload:
            self._counts.add("ignored: empty")
        elif len(publication.payload) > self._config.message_max_bytes:
            self._counts.add("ignored: oversize")
        elif place.kind is Kind.CLIENT_PRESENCE:
            self._presence_of(place.client, publication)
        elif place.kind is Kind.CONTROL:
            self._control(publication)
        else:
            self._rpc(place.client, publication, self._tasks)

    # ---- clients

    def _presence_of(self, client: str, publication: Publication) -> None:
        """A client is gone, or its will says so."""
        if messages.peek(publication.payload).method == presence.GONE:
            self._gone(client)
        else:
            self._counts.add("ignored: unknown presence")

    def _control(self, publication: Publication) -> None:
        """Answer an `initialize`, and remember it until the client's own topic goes on with it."""
        client = self._claimed(publication.properties)
        try:
            incoming, peek = self._read(publication)
        except BadCbor:
            client = None
        if client is None or self._tasks is None or peek.method != _INITIALIZE or peek.asks is None:
            self._counts.add("ignored: not an initialize of anybody")
            return
        if not self._allowance.take("", self._loop.time()):
            self._counts.add("ignored: too many")
            return
        text = incoming.whole()
        declared = fitting.declared(publication.properties.user)
        if not self._clients.open(client, text, declared, self._loop.time()):
            self._counts.add("ignored: oversize")
            return
        greeter = self._peer(client, self._tasks)
        greeter.receive(incoming, peek, self._asked(client, publication, greeter, None), len(text))
        greeter.close()

    def _rpc(self, client: str, publication: Publication, tasks: asyncio.TaskGroup) -> None:
        now = self._loop.time()
        if not self._allowance.take(client, now):
            self._too_many(client, publication)
            return
        try:
            incoming, peek = self._read(publication)
        except BadCbor as exc:
            failure = Failure(jsonrpc.PARSE_ERROR, exc.message)
            self._refuse(client, publication, Peek(), failure)
            return
        if peek.method == presence.GONE:
            self._gone(client)
            return
        try:
            peer = self._at_the_table(client, peek, now, tasks)
        except Overloaded as exc:
            self._counts.add("refused: too many clients")
            self._refuse(client, publication, peek, Failure(jsonrpc.BUSY, exc.message, exc.details()))
            return
        key = answers.key(client, publication.payload) if peek.asks is not None else None
        if key and not self._is_new(key, peer, publication, peek, now):
            return
        asked = self._asked(client, publication, peer, key)
        peer.receive(incoming, peek, asked, len(publication.payload))

    def _at_the_table(self, client: str, peek: Peek, now: float, tasks: asyncio.TaskGroup) -> Peer:
        """The client's session: the one it has, the one it opened on the control topic, or a new one."""
        if peek.method == _INITIALIZE and peek.asks is not None:
            self._clients.withdraw(client)
            self._begin_anew(client)
        elif self._clients.opening and peek.handshake:
            opening = self._clients.go_on(client, now, initialized=peek.method == _INITIALIZED)
            if opening:
                self._begin_anew(client)
                peer = self._seat(client, now, tasks)
                peer.declared_bytes = opening.declared_bytes
                peer.replay(opening.payload)
                return peer
        return self._clients.find(client, now) or self._seat(client, now, tasks)

    def _is_new(self, key: Key, peer: Peer, publication: Publication, peek: Peek, now: float) -> bool:
        """Whether a request is to run; one that came before is answered as before."""
        peer.tell()
        before = self._answers.begin(key, now)
        if before is Before.NEVER:
            return True
        self._counts.add("repeated")
        if before is Before.TOO_LARGE:
            said = "answered before, with more than is kept for a repeat: ask again under another id"
            self._refuse(
                key.client, publication, peek, Failure(fitting.TOO_LARGE, said, TooLarge(said).details())
            )
        elif isinstance(before, Publication):
            self._outbox.send(before)
        return False

    def _seat(self, client: str, now: float, tasks: asyncio.TaskGroup) -> Peer:
        """Have a client there; raises Overloaded."""
        peer = self._peer(client, tasks)
        if leaving := self._clients.leaving_for(peer.tier, now):
            self._end(leaving, goodbye=True)
        self._clients.put(client, peer, now)
        return peer

    def _peer(self, client: str, tasks: asyncio.TaskGroup) -> Peer:
        principal = self._guard.cap(self._access.remote(client))
        topic = self._topics.rpc(client)
        return Peer(self._server, principal, self, tasks, topic=topic, us=self._topics.server_id)

    def _gone(self, client: str) -> None:
        self._clients.withdraw(client)
        self._begin_anew(client)

    def _begin_anew(self, client: str) -> None:
        """End a client's session; its next one counts requests from the start."""
        self._end(client)
        self._answers.forget(client)

    def _end(self, client: str, *, goodbye: bool = False) -> None:
        """End a client's session; `goodbye`: tell it, for it may still be there."""
        if peer := self._clients.remove(client):
            if goodbye:
                peer.end_subscriptions()
            peer.close()
            self._answers.stopped(client)

    def _end_all(self) -> None:
        for client, _ in self._clients.all():
            self._end(client)
        self._clients.clear()

    # ---- messages

    def _read(self, publication: Publication) -> tuple[cbor.Incoming, Peek]:
        """Raises BadCbor."""
        read = cbor.from_cbor if _is_cbor(publication) else cbor.from_json
        incoming = read(publication.payload)
        return incoming, messages.peek(incoming.text)

    def _asked(self, client: str, publication: Publication, peer: Peer | None, key: Key | None) -> Asked:
        properties, topic = publication.properties, self._topics.rpc(client)
        declared = fitting.declared(properties.user) if properties.user else None
        if declared is None and peer:
            declared = peer.declared_bytes
        broker = self._terms.packet_max_bytes if self._terms else None
        expiry_s = properties.expiry_s
        return Asked(
            room_bytes=fitting.room_bytes(broker, declared, DEFAULT_LIMIT_BYTES, topic),
            key=key,
            cbor=_is_cbor(publication),
            qos=min(publication.qos, 1),
            correlation=properties.correlation if properties.response_topic == topic else None,
            until_s=None if expiry_s is None else self._loop.time() + expiry_s,
        )

    def _claimed(self, properties: Properties) -> str | None:
        """Who says to send on the control topic: the property, or else a Response Topic of ours."""
        client = dict(properties.user).get(presence.CLIENT)
        if client is None and properties.response_topic:
            place = self._topics.place(properties.response_topic)
            client = place.client if place and place.kind is Kind.RPC else None
        return None if client is None or check_id(client) else client

    def _too_many(self, client: str, publication: Publication) -> None:
        """Drop a message; once in a while say so."""
        self._counts.add("ignored: too many")
        now = self._loop.time()
        if now - self._refused_s < _REFUSE_EVERY_S or _is_cbor(publication):
            return
        self._refused_s = now
        exc = Overloaded("more messages a second than one of several clients may send", 1.0)
        peek = messages.peek(publication.payload)
        if peek.asks is not None:
            self._refuse(client, publication, peek, Failure(jsonrpc.BUSY, exc.message, exc.details()))

    def _refuse(self, client: str, publication: Publication, peek: Peek, failure: Failure) -> None:
        """Answer what no conversation sees."""
        asked = self._asked(client, publication, None, None)
        text = jsonrpc.error(failure, peek.id)
        self._outbox.send(
            Publication(
                topic=self._topics.rpc(client),
                payload=cbor.to_cbor(text) if asked.cbor else text,
                qos=asked.qos,
                properties=Properties(
                    content_type=cbor.CONTENT_TYPE if asked.cbor else JSON,
                    text=not asked.cbor,
                    correlation=asked.correlation,
                    user=self._us,
                ),
            )
        )

    # ---- what peers need: see `peer.Office`

    @property
    def congested(self) -> bool:
        """See `peer.Office`."""
        return self._outbox.congested

    def send(self, publication: Publication) -> None:
        """See `peer.Office`."""
        self._outbox.send(publication)

    def send_from_thread(self, publication: Publication) -> None:
        """See `peer.Office`."""
        self._outbox.send_from_thread(publication)

    def broadcast(self, message: bytes) -> None:
        """See `peer.Office`."""
        if not self._broadcast:
            self._loop.call_soon(self._broadcast.clear)
        if message in self._broadcast:
            return
        self._broadcast[message] = None
        properties = Properties(content_type=JSON, text=True, user=self._us)
        self._outbox.send(Publication(topic=self._topics.capability, payload=message, properties=properties))

    def answered(self, key: Key, publication: Publication, *, good: bool) -> None:
        """See `peer.Office`."""
        if good:
            self._answers.answered(key, publication, self._loop.time())
        else:
            self._answers.dropped(key)

    def dropped(self, key: Key) -> None:
        """See `peer.Office`."""
        self._answers.dropped(key)

    def settled(self) -> None:
        """See `peer.Office`."""
        self._settled.set()

    def keep(self, owner: str, data: bytes, mime: str, part_bytes: int) -> Held | None:
        """See `peer.Office`."""
        return self._results.keep(owner, data, mime, part_bytes, self._loop.time())

    # ---- ourselves

    @property
    def _us(self) -> tuple[tuple[str, str], ...]:
        return ((presence.COMPONENT, presence.SERVER), (presence.CLIENT, self._topics.server_id))

    def _presence(self, claim: Claim | None) -> Publication:
        if claim is None:
            properties = Properties(user=self._us)
            return Publication(topic=self._topics.presence, retain=True, properties=properties)
        payload = presence.online(
            self._topics.server_name,
            self._description,
            self._identity.boot,
            claim,
            self._config.packet_max_bytes,
            (JSON, cbor.CONTENT_TYPE),
        )
        properties = Properties(content_type=JSON, text=True, user=self._us)
        return Publication(topic=self._topics.presence, payload=payload, retain=True, properties=properties)

    def _changed(self) -> None:
        """We began to serve, or ceased to."""
        if not self._identity.serving:
            self._end_all()

    def _catch_up(self) -> None:
        for _, peer in self._clients.all():
            peer.catch_up()

    async def _sweep(self) -> None:
        """Wait, then forget who fell silent."""
        try:
            async with asyncio.timeout(SWEEP_S):
                await self._stopping.wait()
        except TimeoutError:
            for client in self._clients.expired(self._loop.time()):
                _log.debug("client silent client=%s", client)
                self._end(client, goodbye=True)


def _is_cbor(publication: Publication) -> bool:
    return publication.properties.content_type == cbor.CONTENT_TYPE
