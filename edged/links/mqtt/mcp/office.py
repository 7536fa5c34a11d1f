"""Where answers are made and leave, and what of them is kept: for repeats, and to be read in parts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from edged.errors import Overloaded, TooLarge
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp import cbor, fitting, presence
from edged.links.mqtt.mcp.answers import Answers, Before, Key
from edged.links.mqtt.mcp.messages import Peek
from edged.links.mqtt.mcp.outbox import Outbox
from edged.links.mqtt.mcp.peer import JSON, Asked
from edged.links.mqtt.mcp.results import Held, Results
from edged.links.mqtt.mcp.topics import Kind, Topics, check_id
from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES, Properties, Publication, Terms
from edged.mcp import jsonrpc
from edged.mcp.jsonrpc import Failure
from edged.metrics import Tally

_REFUSE_EVERY_S: Final = 0.1


class MqttOffice:
    """The `peer.Office` of a link; `terms` is what the broker granted, while there is a connection."""

    def __init__(
        self, config: MqttConfig, topics: Topics, counts: Tally, drained: Callable[[], None]
    ) -> None:
        self.outbox = Outbox(counts, drained)
        self.answers = Answers(config.repeat_s, config.repeat_max_bytes)
        self.results = Results(lambda: secrets.token_urlsafe(9))
        self.us = ((presence.COMPONENT, presence.SERVER), (presence.CLIENT, topics.server_id))
        self.terms: Terms | None = None
        self._topics = topics
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._refused_s = float("-inf")
        self._told: set[bytes] = set()
        self.send = self.outbox.send
        self.send_from_thread = self.outbox.send_from_thread
        self.dropped = self.answers.dropped

    @property
    def congested(self) -> bool:
        """See `peer.Office`."""
        return self.outbox.congested

    def broadcast(self, message: bytes) -> None:
        """See `peer.Office`."""
        if not self._told:
            self._loop.call_soon(self._told.clear)
        if message not in self._told:
            self._told.add(message)
            properties = Properties(content_type=JSON, text=True, user=self.us)
            self.send(Publication(topic=self._topics.capability, payload=message, properties=properties))

    def answered(self, key: Key, publication: Publication, *, good: bool) -> None:
        """See `peer.Office`."""
        if good:
            self.answers.answered(key, publication, self._loop.time())
        else:
            self.answers.dropped(key)

    def keep(self, owner: str, data: bytes, mime: str, part_bytes: int) -> Held | None:
        """See `peer.Office`."""
        return self.results.keep(owner, data, mime, part_bytes, self._loop.time())

    def settled(self) -> None:
        """See `peer.Office`."""
        self._settled.set()

    async def until_settled(self) -> None:
        """Wait for a call to end."""
        self._settled.clear()
        await self._settled.wait()

    def is_new(self, key: Key, publication: Publication, peek: Peek) -> bool:
        """Whether a request is to run; one that came before is answered as before."""
        before = self.answers.begin(key, self._loop.time())
        if before is Before.NEVER:
            return True
        self._counts.add("repeated")
        if before is Before.TOO_LARGE:
            said = "answered before, with more than is kept for a repeat: ask again under another id"
            failure = Failure(fitting.TOO_LARGE, said, TooLarge(said).details())
            self.refuse(key.client, publication, peek, failure)
        elif isinstance(before, Publication):
            self.send(before)
        return False

    def asked(
        self, client: str, publication: Publication, declared_bytes: int | None = None, key: Key | None = None
    ) -> Asked:
        """What the answer to a message is to look like; `declared_bytes` by what the client said before."""
        properties, topic = publication.properties, self._topics.rpc(client)
        declared = fitting.declared(properties.user) if properties.user else None
        broker = self.terms.packet_max_bytes if self.terms else None
        expiry_s = properties.expiry_s
        return Asked(
            room_bytes=fitting.room_bytes(broker, declared or declared_bytes, DEFAULT_LIMIT_BYTES, topic),
            key=key,
            cbor=is_cbor(publication),
            qos=min(publication.qos, 1),
            correlation=properties.correlation if properties.response_topic == topic else None,
            until_s=None if expiry_s is None else self._loop.time() + expiry_s,
        )

    def claimed(self, properties: Properties) -> str | None:
        """Who says to send on the control topic: the property, or else a Response Topic of ours."""
        client = dict(properties.user).get(presence.CLIENT)
        if client is None and properties.response_topic:
            place = self._topics.place(properties.response_topic)
            client = place.client if place and place.kind is Kind.RPC else None
        return None if client is None or check_id(client) else client

    def refuse(self, client: str, publication: Publication, peek: Peek, failure: Failure) -> None:
        """Answer what no conversation sees."""
        asked = self.asked(client, publication)
        text = jsonrpc.error(failure, peek.id)
        properties = Properties(
            content_type=cbor.CONTENT_TYPE if asked.cbor else JSON,
            text=not asked.cbor,
            correlation=asked.correlation,
            user=self.us,
        )
        payload = cbor.to_cbor(text) if asked.cbor else text
        self.send(
            Publication(topic=self._topics.rpc(client), payload=payload, qos=asked.qos, properties=properties)
        )

    def refuse_some(self, client: str, publication: Publication, peek: Peek, exc: Overloaded) -> None:
        """Say so to one of many whose messages are not looked at."""
        now = self._loop.time()
        if peek.asks is not None and now - self._refused_s >= _REFUSE_EVERY_S:
            self._refused_s = now
            self.refuse(client, publication, peek, Failure(jsonrpc.BUSY, exc.message, exc.details()))


def is_cbor(publication: Publication) -> bool:
    """Whether a message is CBOR, and so its answer."""
    return publication.properties.content_type == cbor.CONTENT_TYPE
