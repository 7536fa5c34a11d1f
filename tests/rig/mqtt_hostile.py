"""A client that does everything wrong a broker lets it do, from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import cbor2

from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.values import Properties, Publication
from tests.rig.desk import MODERN

NAME = "hostile"
METHODS = (
    "tools/call",
    "tools/list",
    "resources/read",
    "subscriptions/listen",
    "initialize",
    "ping",
    "no/such",
)


class Hostile:
    """`messages` never ends; each is one it may send under an ACL that leaves it its own topics and the control."""

    def __init__(self, topics: Topics, seed: int, victims: tuple[str, ...]) -> None:
        self._topics = topics
        self._random = Random(seed)  # noqa: S311 - a schedule, no secret
        self._victims = victims
        self._rpc = topics.rpc(NAME)
        self._kinds: tuple[Callable[[], Publication], ...] = (
            self._flood,
            self._reused,
            self._malformed,
            self._cbor_trick,
            self._giant,
            self._forged_reply,
            self._claimed,
            self._will,
            self._notification,
            self._slow,
            self._retained,
        )

    def messages(self) -> Iterator[Publication]:
        while True:
            yield self._random.choice(self._kinds)()

    def _flood(self) -> Publication:
        name = self._random.choice(METHODS)
        params = {"name": "echo", "arguments": {"text": "x" * self._random.randrange(2000)}, "uri": "a:b"}
        params["notifications"] = {"toolsListChanged": True}  # of a subscription
        return self._request(name, self._random.getrandbits(40), params)

    def _reused(self) -> Publication:
        return self._request("tools/call", self._random.randrange(3), {"name": "wait", "arguments": {}})

    def _slow(self) -> Publication:
        return self._request("tools/call", self._random.getrandbits(40), {"name": "wait", "arguments": {}})

    def _malformed(self) -> Publication:
        whole = json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
        ).encode()
        cut = whole[: self._random.randrange(len(whole))]
        deep = b"[" * self._random.randrange(1, 5000)
        return self._say(self._random.choice([cut, deep, b"", b"\xff\xfe", self._random.randbytes(200)]))

    def _cbor_trick(self) -> Publication:
        bomb = b"\x9a\xff\xff\xff\xff" + b"\x80" * 50
        many = b"\x99\x40\x00" + b"\x80" * 0x4000
        deep = b"\x81" * self._random.randrange(1, 2000) + b"\x00"
        call = {"jsonrpc": "2.0", "id": self._random.getrandbits(30), "method": "tools/call"}
        heavy = cbor2.dumps(
            {**call, "params": {"name": "weigh", "arguments": {"data": bytes(20_000)}, "_meta": MODERN}}
        )
        changed = bytearray(heavy)
        changed[self._random.randrange(len(changed))] ^= 0xFF
        payload = self._random.choice([bomb, many, deep, heavy, bytes(changed), self._random.randbytes(100)])
        return self._say(payload, content_type="application/cbor")

    def _giant(self) -> Publication:
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": "x" * 300_000}})
        return self._say(text.encode())

    def _forged_reply(self) -> Publication:
        victim = self._random.choice(self._victims)
        request = self._request("tools/list", self._random.getrandbits(40), {})
        return self._say(
            request.payload,
            response_topic=self._topics.rpc(victim),
            correlation=self._random.randbytes(500),
            expiry_s=self._random.choice([None, 1, 1 << 31]),
            user=tuple((f"p{n}", "x" * 50) for n in range(50)),
        )

    def _claimed(self) -> Publication:
        """On the control topic, in the name of a victim or of anybody."""
        who = self._random.choice([*self._victims, NAME, f"nobody-{self._random.getrandbits(30)}", "a/b", ""])
        version = self._random.choice(["2024-11-05", "2025-11-25", "9999"])
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}}
        properties = Properties(user=(("MCP-MQTT-CLIENT-ID", who),))
        payload = json.dumps(message).encode()
        return Publication(topic=self._topics.control, payload=payload, properties=properties)

    def _will(self) -> Publication:
        topic = self._random.choice([f"$mcp-client/presence/{NAME}", self._rpc])
        return Publication(topic=topic, payload=b'{"jsonrpc":"2.0","method":"notifications/disconnected"}')

    def _notification(self) -> Publication:
        method = self._random.choice(["cancelled", "initialized", "progress", "x" * 500])
        params: Any = self._random.choice([{}, {"requestId": self._random.randrange(3)}, [], None])
        message = {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}
        return self._say(json.dumps(message).encode())

    def _retained(self) -> Publication:
        return Publication(topic=self._rpc, payload=self._random.randbytes(20), retain=True)

    def _request(self, method: str, request_id: int, params: dict[str, Any]) -> Publication:
        if self._random.random() < 0.7:
            params = {**params, "_meta": MODERN}
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return self._say(json.dumps(message).encode())

    def _say(self, payload: bytes, **properties: Any) -> Publication:
        qos = self._random.randrange(2)
        return Publication(topic=self._rpc, payload=payload, qos=qos, properties=Properties(**properties))
