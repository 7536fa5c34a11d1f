"""MCP on one MQTT connection: whose message it is, and whether it is to be looked at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Final

import msgspec

from edged import __version__
from edged.errors import BadCbor, Overloaded
from edged.links.mqtt import answers, cbor, messages, presence, reading
from edged.links.mqtt.announcing import Announcer
from edged.links.mqtt.cbor import Incoming
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.fairness import Fairness, Turn
from edged.links.mqtt.guard import Guard
from edged.links.mqtt.identity import Claim, Identity
from edged.links.mqtt.lobby import INITIALIZE, Lobby
from edged.links.mqtt.messages import Peek
from edged.links.mqtt.office import MqttOffice, is_cbor
from edged.links.mqtt.peer import JSON
from edged.links.mqtt.status import McpStatus
from edged.links.mqtt.topics import Kind, Topics
from edged.links.mqtt.values import Properties, Publication, Publisher, Subscription, Terms
from edged.mcp import jsonrpc
from edged.mcp.access import Access
from edged.mcp.jsonrpc import Failure
from edged.mcp.server import Server
from edged.metrics import Tally

_log = logging.getLogger(__name__)

SWEEP_S: Final = 30.0
"""Between two looks for clients that fell silent."""
_ANYBODY: Final = ""
"""Whose turn it is on the control topic: no client has this id."""


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
        self._config = config
        self._topics = topics
        self._description = description
        self._loop = asyncio.get_running_loop()
        self._counts = Tally()
        self._fairness: Fairness[Publication] = Fairness()
        self._turning = False
        self._stopping = asyncio.Event()
        self._office = MqttOffice(config, topics, self._counts, self._catch_up)
        self._guard = Guard(topics, f"probe-{secrets.token_hex(8)}", self._proven, probe=probe)
        self._lobby = Lobby(server, access, config, topics, self._guard, self._office)
        self._identity = Identity(boot_id)
        self._announcer = Announcer(self._identity, self._presence, self._office.send, self._changed)
        server.catalog.put(*reading.templates(self._office.results, self._loop.time))
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
        return self._office.outbox.publisher

    @publisher.setter
    def publisher(self, publisher: Publisher) -> None:
        self._office.outbox.publisher = publisher

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
            clients=len(self._lobby),
            openings=self._lobby.opening,
            answers_kept=len(self._office.answers),
            results_kept=len(self._office.results),
            counts=self._counts.by_name(),
        )

    async def run(self) -> None:
        """Serve until `close`; from before the connection runs until after it has ended."""
        async with asyncio.TaskGroup() as tasks:
            self._lobby.tasks = tasks
            try:
                while not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SWEEP_S):
                            await self._stopping.wait()
                    self._lobby.sweep()
            finally:
                self._lobby.end_all()
                self._lobby.tasks = None

    async def withdraw(self) -> None:
        """Say goodbye while the connection is there: no new request is taken, what runs has `grace_s` to end."""
        for peer in self._lobby.peers():
            peer.end_subscriptions()
        if self.publisher is None or self.publisher.terms is None:
            return
        await self._announcer.withdraw(self.publisher)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.grace_s):
                while self._lobby.busy:
                    await self._office.until_settled()

    def close(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    # what the connection tells: see `values.Handler`

    def connected(self, terms: Terms) -> None:
        """Try what the broker allows, and claim the id."""
        self._office.terms = terms
        wanted = dict(terms.user).get(presence.SERVER_NAME, self._topics.server_name)
        if wanted != self._topics.server_name:
            _log.warning("the broker wants the server name %r: set [mqtt] name", wanted)
        if self.publisher:
            self._guard.connected(self.publisher)
        self._announcer.connected()

    def disconnected(self, reason: str) -> None:
        """Have nobody there: clients hear our will, and begin anew."""
        _log.debug("clients gone n=%d reason=%s", len(self._lobby), reason)
        self._office.terms = None
        self._fairness.clear()
        self._lobby.end_all()
        self._guard.disconnected()
        self._announcer.disconnected()

    def received(self, publication: Publication) -> None:
        """Look at a message, or count why not."""
        place = self._topics.place(publication.topic)
        if place is None:
            self._counts.add("ignored: no client's topic")
        elif place.kind is Kind.PRESENCE:
            self._announcer.heard(publication)
        elif ignored := self._ignored(publication):
            self._counts.add(f"ignored: {ignored}")
        elif place.kind is Kind.CLIENT_PRESENCE:
            self._presence_of(place.client, publication)
        else:
            self._by_turns(place.client or _ANYBODY, publication)

    def _by_turns(self, client: str, publication: Publication) -> None:
        """Handle a message now, or when it is its client's turn."""
        now = self._loop.time()
        match self._fairness.arrive(client, publication, len(publication.payload), now):
            case Turn.NOW:
                self._handle(client, publication)
            case Turn.NEVER:
                self._too_many(client, publication)
        self._keep_turning()

    def _keep_turning(self) -> None:
        if self._fairness.turning and not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        try:
            for client, publication in self._fairness.next():
                if ignored := self._ignored(publication):
                    self._counts.add(f"ignored: {ignored}")
                else:
                    self._handle(client, publication)
        finally:
            self._keep_turning()

    def _handle(self, client: str, publication: Publication) -> None:
        if client == _ANYBODY:
            self._control(publication)
        else:
            self._rpc(client, publication)

    def _ignored(self, publication: Publication) -> str | None:
        """Why a client's message is not even looked at."""
        if publication.retain:
            return "retained"
        if self._lobby.tasks is None or not self._identity.serving:
            return "not serving"
        if not publication.payload:
            return "empty"
        return "oversize" if len(publication.payload) > self._config.message_max_bytes else None

    def _presence_of(self, client: str, publication: Publication) -> None:
        if messages.peek(publication.payload).method == presence.GONE:
            self._fairness.drop(client)
            self._lobby.begin_anew(client)
        else:
            self._counts.add("ignored: unknown presence")

    def _control(self, publication: Publication) -> None:
        """Anybody may claim to be anybody here: only an `initialize` is answered, and touches nobody."""
        client = self._office.claimed(publication.properties)
        try:
            incoming, peek = _read(publication)
        except BadCbor:
            client, peek = None, Peek()
        if client is None or peek.method != INITIALIZE or peek.asks is None:
            ignored: str | None = "not an initialize of anybody"
        else:
            ignored = self._lobby.greet(client, publication, incoming, peek)
        if ignored:
            self._counts.add(f"ignored: {ignored}")

    def _rpc(self, client: str, publication: Publication) -> None:
        """The broker saw to it that this is the client's."""
        try:
            incoming, peek = _read(publication)
        except BadCbor as exc:
            failure = Failure(jsonrpc.PARSE_ERROR, f"not CBOR as taken here: {exc.message}")
            self._office.refuse(client, publication, Peek(), failure)
            return
        if peek.method == presence.GONE:
            self._lobby.begin_anew(client)
        else:
            self._hand_on(client, publication, incoming, peek)

    def _hand_on(self, client: str, publication: Publication, incoming: Incoming, peek: Peek) -> None:
        """Give a message to the client's session, unless it is a request that came before."""
        try:
            peer = self._lobby.session_of(client, peek)
        except Overloaded as exc:
            self._counts.add("refused: too many clients")
            failure = Failure(jsonrpc.BUSY, exc.message, exc.details())
            self._office.refuse(client, publication, peek, failure)
            return
        key = None
        if peek.asks is not None:
            peer.tell()
            key = answers.key(client, publication.payload)
            if not self._office.is_new(key, publication, peek):
                return
        asked = self._office.asked(client, publication, peer.declared_bytes, key)
        peer.receive(incoming, peek, asked, len(publication.payload))

    def _too_many(self, client: str, publication: Publication) -> None:
        self._counts.add("ignored: too many")
        if client != _ANYBODY and not is_cbor(publication):
            exc = Overloaded("more messages at once than one of several clients may have waiting", 1.0)
            self._office.refuse_some(client, publication, messages.peek(publication.payload), exc)

    # what we tell

    def _presence(self, claim: Claim | None) -> Publication:
        """The presence that says a claim, or that nobody is there."""
        topic, us = self._topics.presence, self._office.us
        if claim is None:
            return Publication(topic=topic, retain=True, properties=Properties(user=us))
        payload = presence.online(
            self._topics.server_name,
            self._description,
            self._identity.boot,
            claim,
            self._config.packet_max_bytes,
            (JSON, cbor.CONTENT_TYPE),
        )
        properties = Properties(content_type=JSON, text=True, user=us)
        return Publication(topic=topic, payload=payload, retain=True, properties=properties)

    def _changed(self) -> None:
        """Who serves has changed."""
        if not self._identity.serving:
            self._lobby.end_all()

    def _proven(self) -> None:
        """The broker guards its topics: who came before that was known has too low a tier."""
        self._lobby.end_all()

    def _catch_up(self) -> None:
        for peer in self._lobby.peers():
            peer.catch_up()


def _read(publication: Publication) -> tuple[Incoming, Peek]:
    """A message and what it is; raises BadCbor."""
    incoming = (cbor.from_cbor if is_cbor(publication) else cbor.from_json)(publication.payload)
    return incoming, messages.peek(incoming.text)
