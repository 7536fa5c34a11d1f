"""Who comes, who goes, and who is whose: a client's messages to its session."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp import fitting
from edged.links.mqtt.mcp.cbor import Incoming
from edged.links.mqtt.mcp.clients import Clients
from edged.links.mqtt.mcp.guard import Guard
from edged.links.mqtt.mcp.messages import Peek
from edged.links.mqtt.mcp.office import MqttOffice
from edged.links.mqtt.mcp.peer import Peer
from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.values import Publication
from edged.mcp.access import Access
from edged.mcp.server import Server

_log = logging.getLogger(__name__)

_INITIALIZED: Final = "notifications/initialized"
INITIALIZE: Final = "initialize"


class Lobby:
    """The clients of a link; `tasks` is there while it runs."""

    def __init__(
        self,
        server: Server,
        access: Access,
        config: MqttConfig,
        topics: Topics,
        guard: Guard,
        office: MqttOffice,
    ) -> None:
        self._server = server
        self._access = access
        self._topics = topics
        self._guard = guard
        self._office = office
        self._loop = asyncio.get_running_loop()
        self._clients: Clients[Peer] = Clients(config.sessions_max, config.session_idle_s)
        self.tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def opening(self) -> int:
        """Handshakes that nobody has gone on with."""
        return self._clients.opening

    @property
    def busy(self) -> bool:
        """Whether anything runs for anybody."""
        return any(peer.busy for peer in self.peers())

    def peers(self) -> list[Peer]:
        """Everybody who is there."""
        return [peer for _, peer in self._clients.all()]

    def greet(self, client: str, publication: Publication, incoming: Incoming, peek: Peek) -> str | None:
        """Answer an `initialize` of whoever claims that id, and remember it; why not, where not."""
        live = self._clients.get(client)
        if live and live.waits_for(peek.asks):
            return "an initialize under an id in flight"
        text = incoming.whole()
        declared = fitting.declared(publication.properties.user)
        if not self._clients.open(client, text, declared, self._loop.time()):
            return "oversize"
        greeter = self._peer(client)
        greeter.receive(incoming, peek, self._office.asked(client, publication), len(text))
        greeter.close()
        return None

    def session_of(self, client: str, peek: Peek) -> Peer:
        """The one a client has, the one it opened on the control topic, or a new one; raises Overloaded."""
        now = self._loop.time()
        if peek.method == INITIALIZE and peek.asks is not None:
            self.begin_anew(client)
        elif self._clients.opening and peek.handshake:
            opening = self._clients.go_on(client, now, initialized=peek.method == _INITIALIZED)
            if opening:
                self.begin_anew(client)
                peer = self._seat(client, now)
                peer.declared_bytes = opening.declared_bytes
                peer.replay(opening.payload)
                return peer
        return self._clients.find(client, now) or self._seat(client, now)

    def begin_anew(self, client: str) -> None:
        """End what there is of a client; its next session counts requests from the start."""
        self._clients.withdraw(client)
        self._end(client)
        self._office.answers.forget(client)

    def end_all(self) -> None:
        """Have nobody there."""
        for client, _ in self._clients.all():
            self._end(client)
        self._clients.clear()

    def sweep(self) -> None:
        """Forget who fell silent."""
        for client in self._clients.expired(self._loop.time()):
            _log.debug("client silent client=%s", client)
            self._end(client, goodbye=True)

    def _seat(self, client: str, now: float) -> Peer:
        peer = self._peer(client)
        if leaving := self._clients.leaving_for(peer.tier, now):
            self._end(leaving, goodbye=True)
        self._clients.put(client, peer, now)
        return peer

    def _peer(self, client: str) -> Peer:
        assert self.tasks is not None  # noqa: S101 - the link takes in nothing while it does not run
        principal = self._guard.cap(self._access.remote(client))
        topic = self._topics.rpc(client)
        return Peer(self._server, principal, self._office, self.tasks, topic=topic, us=self._topics.server_id)

    def _end(self, client: str, *, goodbye: bool = False) -> None:
        """End a client's session; `goodbye`: tell it, for it may still be there."""
        if peer := self._clients.remove(client):
            if goodbye:
                peer.end_subscriptions()
            peer.close()
            self._office.answers.stopped(client)
