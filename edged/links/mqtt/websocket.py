"""The client's side of a WebSocket (RFC 6455) that carries MQTT, sans-IO. Pure: chance is an argument.

MQTT 5, section 6: binary messages, whose borders mean nothing to MQTT; sub-protocol "mqtt".
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CONTROL_MAX_BYTES: Final = 125  # RFC 6455, 5.5
HEAD_MAX_BYTES: Final = 16 * 1024
END_OF_HEAD: Final = b"\r\n\r\n"


class WebSocketError(ConnectionError):
    """The other side does not keep to the protocol, or does not want to speak it."""


def request(host: str, port: int, path: str, nonce: bytes) -> bytes:
    """The handshake; `nonce` is 16 random bytes."""
    name = f"[{host}]" if ":" in host else host
    return (
        f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(nonce).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    ).encode()


def check_response(head: bytes, nonce: bytes) -> None:
    """Raise WebSocketError unless the response's head agrees to speak MQTT on a WebSocket."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if first.split(" ")[1:2] != ["101"]:
        raise WebSocketError(f"it answered {first[:80]!r}, not 101 Switching Protocols")
    proof = hashlib.sha1(base64.b64encode(nonce) + _GUID, usedforsecurity=False).digest()
    if fields.get("sec-websocket-accept") != base64.b64encode(proof).decode():
        raise WebSocketError("its handshake does not answer ours")
    if fields.get("sec-websocket-protocol") != "mqtt":
        raise WebSocketError("it does not speak MQTT there")


def frame(payload: bytes | bytearray, mask: bytes, opcode: int = _BINARY) -> bytes:
    """A whole message in one frame; `mask` is 4 random bytes."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 1 << 16:
        size = bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    else:
        size = bytes((0x80 | 127,)) + length.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + size + mask + _masked(payload, mask)


def _masked(payload: bytes | bytearray, mask: bytes) -> bytes:
    length = len(payload)
    stream = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


class Frames:
    """Takes frames apart, however they come in pieces."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._left = 0  # of a data frame whose head has gone by
        self.replies: list[tuple[int, bytes]] = []
        """Opcode and payload of control frames that are due to the other side; the caller takes them away."""
        self.closed = False

    def feed(self, raw: bytes | bytearray | memoryview) -> bytes:
        """The MQTT bytes in it; raises WebSocketError for what a server may not send."""
        self._raw += raw
        found = bytearray()
        while self._left or self._head():
            if not self._raw:
                break
            taken = self._raw[: self._left]
            del self._raw[: len(taken)]
            self._left -= len(taken)
            found += taken
        return bytes(found)

    def _head(self) -> bool:
        """Take control frames, and the next data frame's head; False if it has not all come."""
        while not self.closed and (head := self._parsed_head()):
            opcode, size, length = head
            if opcode in {_BINARY, _CONTINUATION}:
                del self._raw[:size]
                if length:
                    self._left = length
                    return True
            elif opcode not in {_CLOSE, _PING, _PONG} or length > _CONTROL_MAX_BYTES:
                raise WebSocketError(f"it sent a frame of kind {opcode} and {length} bytes")
            elif len(self._raw) < size + length:
                return False
            else:
                payload = bytes(self._raw[size : size + length])
                del self._raw[: size + length]
                self._control(opcode, payload)
        return False

    def _parsed_head(self) -> tuple[int, int, int] | None:
        """Opcode, bytes of the head, bytes of the payload."""
        raw = self._raw
        if len(raw) < 2:
            return None
        if raw[0] & 0x70 or raw[1] & 0x80:
            raise WebSocketError("it sent a masked frame, or one with an extension")
        length, size = raw[1], 2
        if length >= 126:
            size = 4 if length == 126 else 10
            if len(raw) < size:
                return None
            length = int.from_bytes(raw[2:size], "big")
        return raw[0] & 0x0F, size, length

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.replies.append((_PONG, payload))
        elif opcode == _CLOSE:
            self.closed = True
            self.replies.append((_CLOSE, payload))
