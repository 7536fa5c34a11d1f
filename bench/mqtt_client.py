"""One MQTT client on paho, as lean as paho can be: one thread, prepared payloads, no parsing."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bench.clients import ANSWER_S, Wrong

NAME = "edged/vision"
LIMIT_BYTES = 1 << 20
ID = b"@@@@@@@@"
"""Where each call's own id goes: a request that is repeated byte for byte is answered from memory."""


class MqttClient:
    """Calls one server, QoS 1 both ways, with the properties that the specification has clients send."""

    def __init__(self, port: int, server: str, name: str, content_type: str = "application/json") -> None:
        self._topic = f"$mcp-rpc/{name}/{server}/{NAME}"
        self._heard: list[bytes] = []
        self._ready = self._calls = 0
        self._properties = _properties(content_type, name)
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self._paho.username_pw_set(name)
        self._paho.on_message = self._message
        self._paho.on_connect = self._paho.on_subscribe = self._step
        self._paho.connect("127.0.0.1", port)
        sock: Any = self._paho.socket()
        self._socket: socket.socket = sock
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._until(lambda: self._ready == 1)
        presence = (f"$mcp-server/presence/{server}/{NAME}", SubscribeOptions(qos=1))
        self._paho.subscribe([presence, (self._topic, SubscribeOptions(qos=1, noLocal=True))])
        self._until(lambda: self._ready == 2 and any(b"server/online" in heard for heard in self._heard))

    def close(self) -> None:
        """Say goodbye."""
        self._paho.disconnect()

    def call(self, message: bytes, expect: bytes) -> None:
        """Publish under an id of its own, and wait; raises Wrong where the answer is an error.

        What lacks what is expected is nobody's answer to us: anybody may have a handshake answered here.
        """
        self._heard.clear()
        self._calls += 1
        payload = message.replace(ID, b"%08d" % self._calls, 1)
        self._paho.publish(self._topic, payload, 1, properties=self._properties)
        self._until(lambda: any(expect in heard or b'"error":{' in heard for heard in self._heard))
        if not any(expect in heard for heard in self._heard):
            raise Wrong(f"expected {expect!r} in {self._heard[-1][:2000]!r}")

    def _until(self, holds: Any) -> None:
        end = time.monotonic() + ANSWER_S
        while not holds():
            if time.monotonic() > end:
                raise Wrong(f"no answer for {ANSWER_S:.0f} s")
            self._drive()

    def _drive(self) -> None:
        writes = [self._socket] if self._paho.want_write() else []
        readable, writable, _ = select.select([self._socket], writes, [], 1.0)
        if readable:
            self._paho.loop_read(10)
        if writable or self._paho.want_write():
            self._paho.loop_write()

    def _message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._heard.append(bytes(message.payload))

    def _step(self, *_: Any) -> None:
        self._ready += 1


def _properties(content_type: str, name: str) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho
    properties.UserProperty = [
        ("MCP-COMPONENT-TYPE", "mcp-client"),
        ("MCP-MQTT-CLIENT-ID", name),
        ("EDGED-MAX-PACKET-BYTES", str(LIMIT_BYTES)),
    ]
    properties.ContentType = content_type
    properties.PayloadFormatIndicator = int(content_type == "application/json")
    return properties
