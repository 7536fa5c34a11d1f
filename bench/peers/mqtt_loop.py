"""A server's side of MCP over MQTT on paho and asyncio, for peers: subscribed, found, without Nagle's algorithm."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

NAME = "edged/vision"


class Peer:
    """Publishes answers with the properties of the specification, QoS 1; `received` gets topic and payload."""

    def __init__(self, port: int, server: str, received: Callable[[str, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._received = received
        self._properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho
        self._properties.UserProperty = [("MCP-COMPONENT-TYPE", "mcp-server"), ("MCP-MQTT-CLIENT-ID", server)]
        self._properties.ContentType = "application/json"
        self._properties.PayloadFormatIndicator = 1
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, server, protocol=paho.MQTTv5)
        self._paho.username_pw_set(server)
        self._paho.on_socket_open = self._opened
        self._paho.on_socket_close = self._close
        self._paho.on_socket_register_write = self._register_write
        self._paho.on_socket_unregister_write = self._unregister_write
        self._paho.on_connect = self._connected
        self._paho.on_subscribe = self._subscribed
        self._paho.on_message = lambda _c, _d, message: self._received(message.topic, bytes(message.payload))
        self._paho.connect("127.0.0.1", port)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send an answer."""
        self._paho.publish(topic, payload, 1, properties=self._properties)

    async def run(self) -> None:
        """Until the connection ends."""
        while self._paho.loop_misc() == paho.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho has no event for it
            await asyncio.sleep(1)  # the beat of paho's own clock

    def _opened(self, _client: Any, _data: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(sock, self._paho.loop_read)

    def _close(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)

    def _register_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self._paho.loop_write)

    def _unregister_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _connected(self, *_: Any) -> None:
        self._paho.subscribe([(f"$mcp-rpc/+/{self._server}/{NAME}", SubscribeOptions(qos=1, noLocal=True))])

    def _subscribed(self, *_: Any) -> None:
        online = {"jsonrpc": "2.0", "method": "notifications/server/online", "params": {"server_name": NAME}}
        topic = f"$mcp-server/presence/{self._server}/{NAME}"
        self._paho.publish(topic, json.dumps(online), 1, retain=True, properties=self._properties)
