"""An MCP client of a device on a broker, in either era, with nothing but topics."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import cbor2

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.values import Properties, Publication, Subscription
from tests.rig.desk import MODERN
from tests.rig.mqtt import Line, online

JSON, CBOR = "application/json", "application/cbor"


class Caller:
    """One client of one device; it speaks the stateless era until it has shaken hands."""

    def __init__(self, line: Line, me: str, topics: Topics) -> None:
        self.line = line
        self._me, self._topics = me, topics
        self._ids = itertools.count()
        self._meta: dict[str, Any] = {"_meta": MODERN}

    async def found(self) -> dict[str, Any]:
        """The device's presence, once it is there."""
        await self.line.ear.until(lambda _: bool(self._presences() and self._presences()[-1]))
        found: dict[str, Any] = json.loads(self._presences()[-1])
        return found

    async def shake_hands(self, version: str = "2025-06-18") -> None:
        """From now on, the era of sessions."""
        self._meta = {}
        info = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        }
        answer = await self.ask("initialize", info, on=self._topics.control)
        assert answer["protocolVersion"] == version
        await self._say({"jsonrpc": "2.0", "method": "notifications/initialized"}, self._rpc, JSON)

    async def ask(
        self, method: str, params: Mapping[str, Any], *, on: str | None = None, content_type: str = JSON
    ) -> Any:
        """The result of a request."""
        number = next(self._ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, **self._meta}}
        await self._say(message, on or self._rpc, content_type)
        await self.line.ear.until(lambda _: self._answer(number) is not None)
        answer = self._answer(number)
        assert answer is not None
        assert "result" in answer, answer
        return answer["result"]

    async def call(self, tool: str, content_type: str = JSON, **arguments: Any) -> Any:
        """What a tool answers, as an object."""
        result = await self.ask(
            "tools/call", {"name": tool, "arguments": arguments}, content_type=content_type
        )
        assert not result.get("isError"), result
        return result["structuredContent"]

    @property
    def _rpc(self) -> str:
        return self._topics.rpc(self._me)

    async def _say(self, message: object, topic: str, content_type: str) -> None:
        payload = cbor2.dumps(message) if content_type == CBOR else json.dumps(message).encode()
        who = (("MCP-COMPONENT-TYPE", "mcp-client"), ("MCP-MQTT-CLIENT-ID", self._me))
        code = await self.line.say(topic, payload, properties=Properties(content_type=content_type, user=who))
        assert code < 0x80, hex(code)

    def _presences(self) -> list[bytes]:
        return [each.payload for each in self.line.ear.heard if each.topic == self._topics.presence]

    def _answer(self, number: int) -> dict[str, Any] | None:
        for each in reversed(self.line.ear.heard):
            if each.topic == self._rpc and (message := decoded(each)).get("id") == number:
                return message
        return None


def decoded(publication: Publication) -> dict[str, Any]:
    """A message in either encoding."""
    in_cbor = publication.properties.content_type == CBOR
    found: dict[str, Any] = cbor2.loads(publication.payload) if in_cbor else json.loads(publication.payload)
    return found


@contextlib.asynccontextmanager
async def calling(
    config: MqttConfig, me: str, device: str, name: str = "edged/vision"
) -> AsyncIterator[Caller]:
    """Connect as a client of that device."""
    topics = Topics(device, name)
    filters = (Subscription(filter=topics.rpc(me), no_local=True), topics.presence)
    async with online(config, *filters, name=me) as line:
        yield Caller(line, me, topics)
