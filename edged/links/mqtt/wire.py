"""A connected byte stream under MQTT: TCP, TLS, Unix or WebSocket alike, never blocking, buffered both ways.

paho reads a packet's head byte by byte and writes packet by packet; here that costs no system calls, and an
acknowledgement leaves with the answer behind it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from time import monotonic
from typing import Final

from edged.links.mqtt.websocket import Frames, frame

_CHUNK_BYTES: Final = 256 * 1024
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """What paho takes for its socket. `last_in` and `last_out` are when bytes last moved (time.monotonic)."""

    def __init__(self, sock: socket.socket, packet_max_bytes: int, *, websocket: bool) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._packet_max_bytes = packet_max_bytes
        self._frames = Frames() if websocket else None
        self._in = bytearray()
        self._read = 0  # how much of `_in` has been given away
        self._out = bytearray()
        self.ended = False
        """Whether the other side sends no more."""
        self.fault = ""
        """What paho was told when it asked for what there is not to be had."""
        self.last_in = self.last_out = monotonic()

    @property
    def received(self) -> int:
        """Bytes that `recv` has to give."""
        return len(self._in) - self._read

    @property
    def unsent(self) -> int:
        """Bytes that the network has not taken."""
        return len(self._out)

    def fill(self) -> bool:
        """Take what has come, a bounded share of it; whether there may be more. Raises OSError when it broke."""
        took = 0
        while took < _CHUNK_BYTES:
            try:
                chunk = self._sock.recv(_CHUNK_BYTES)
            except _NOT_NOW:
                return False
            if not chunk:
                self.ended = True
                return False
            took += len(chunk)
            self._take(chunk)
            if not isinstance(
                self._sock, ssl.SSLSocket
            ):  # the event loop tells of more; TLS hides what it has decrypted
                return False
        return True

    def flush(self) -> bool:
        """Hand the network what it takes; whether that was all. Raises OSError when it broke."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except _NOT_NOW:
                return False
            del self._out[:sent]
            self.last_out = monotonic()
        return True

    def last_words(self) -> OSError | None:
        """What the other side said before it hung up on what we sent: TLS 1.3 refuses a certificate only then."""
        try:
            self._sock.recv(1)
        except _NOT_NOW:
            return None
        except OSError as exc:
            return exc
        return None

    def recv(self, size: int) -> bytes:
        """Give at most `size` bytes of what has come. paho asks for the rest of a packet: none may be over the cap."""
        if size > self._packet_max_bytes:
            self.fault = f"a packet of over {self._packet_max_bytes} bytes, more than we said we take"
            raise ConnectionError(self.fault)
        if self._read == len(self._in):
            raise BlockingIOError
        given = bytes(self._in[self._read : self._read + size])
        self._read += len(given)
        if self._read == len(self._in):
            self._in.clear()
            self._read = 0
        return given

    def send(self, data: bytes | bytearray) -> int:
        """Keep all of it for `flush`."""
        self._out += data if self._frames is None else frame(data, os.urandom(4))
        return len(data)

    def fileno(self) -> int:
        """-1 once it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Let go of it, at once; what the network takes of the rest still goes."""
        with contextlib.suppress(OSError):
            self.flush()
        self._sock.close()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - a socket's method
        """It never blocks."""

    def _take(self, chunk: bytes) -> None:
        self.last_in = monotonic()
        if self._frames is None:
            self._in += chunk
            return
        self._in += self._frames.feed(chunk)
        for opcode, payload in self._frames.replies:
            self._out += frame(payload, os.urandom(4), opcode)
        self._frames.replies.clear()
        self.ended = self.ended or self._frames.closed
