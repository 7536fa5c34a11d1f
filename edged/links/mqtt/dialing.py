"""From an address to a connected stream: names, TCP, TLS and the WebSocket's handshake, all of which block."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Final, NamedTuple

from edged.errors import EdgedError, Unreachable
from edged.links.mqtt import websocket
from edged.links.mqtt.address import Address
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.secrets import PlainFiles, Secrets
from edged.links.mqtt.tls import Tls
from edged.links.mqtt.wire import Wire

_TCP_CONNECT_S: Final = 5.0


class Dialed(NamedTuple):
    """A stream, and the password to say on it."""

    wire: Wire
    password: bytes | None


class Dialer:
    """Dials on a thread of its own for each call; for the event loop's thread.

    A name service that hangs cannot be stopped: its thread is left behind, and that address not tried again
    until it has ended.
    """

    def __init__(self, config: MqttConfig, tls: Tls | None, secrets: Secrets | None = None) -> None:
        self._config = config
        self._secrets = secrets or PlainFiles()
        self._tls = tls
        self._dialing: dict[Address, threading.Thread] = {}

    async def dial(self, address: Address) -> Dialed:
        """A stream to the broker, in `connect_s` at most.

        Raises Unreachable with what went wrong there, BadConfig and others for what is wrong with our own files.
        """
        loop = asyncio.get_running_loop()
        if (stuck := self._dialing.get(address)) and stuck.is_alive():
            raise Unreachable(f"{address.url}: an earlier try still hangs")
        outcome: asyncio.Future[Dialed] = loop.create_future()
        thread = threading.Thread(
            target=self._work, args=(address, loop, outcome), name="mqtt-dial", daemon=True
        )
        self._dialing[address] = thread
        thread.start()
        try:
            async with asyncio.timeout(self._config.connect_s):
                return await outcome
        except TimeoutError as exc:
            raise Unreachable(f"{address.url}: no connection within {self._config.connect_s:g} s") from exc

    def _work(
        self, address: Address, loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[Dialed]
    ) -> None:
        try:
            password = self._password()
            wire = Wire(self._connect(address), self._config.packet_max_bytes, websocket=address.websocket)
        except EdgedError as exc:
            _tell(loop, outcome, exc)
        except (OSError, UnicodeError) as exc:  # an ssl.SSLError too; a name that is none
            _tell(loop, outcome, Unreachable(f"{address.url}: {_why(exc)}"))
        else:
            _tell(loop, outcome, Dialed(wire, password))

    def _password(self) -> bytes | None:
        if not self._config.password_file:
            return None
        said = self._secrets.read(Path(self._config.password_file))
        return said.removesuffix(b"\n").removesuffix(b"\r")

    def _connect(self, address: Address) -> socket.socket:
        sock = self._open(address)
        try:
            if address.encrypted:
                sock = self._encrypt(sock, address.host)
            if address.websocket:
                _upgrade(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _open(self, address: Address) -> socket.socket:
        if address.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(address.host)
            except BaseException:
                sock.close()
                raise
            return sock
        sock = socket.create_connection(
            (address.host, address.port), min(_TCP_CONNECT_S, self._config.connect_s)
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dead_ms = int(1500 * self._config.keepalive_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_ms)
        sock.settimeout(self._config.connect_s)
        return sock

    def _encrypt(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        if self._tls is None:
            raise Unreachable("it wants TLS, and there is none to use")
        return self._tls.context().wrap_socket(sock, server_hostname=host)


def _upgrade(sock: socket.socket, address: Address) -> None:
    nonce = os.urandom(16)
    sock.sendall(websocket.request(address.host, address.port, address.path, nonce))
    head = bytearray()
    while not head.endswith(websocket.END_OF_HEAD):
        byte = sock.recv(1)  # what follows is MQTT's
        if not byte or len(head) > websocket.HEAD_MAX_BYTES:
            raise websocket.WebSocketError("it closed the connection during the handshake")
        head += byte
    websocket.check_response(bytes(head), nonce)


def _tell(
    loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[Dialed], found: Dialed | EdgedError
) -> None:
    def settle() -> None:
        if isinstance(found, EdgedError):
            if not outcome.done():
                outcome.set_exception(found)
        elif outcome.done():
            found.wire.close()  # nobody waits any more
        else:
            outcome.set_result(found)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed
        if isinstance(found, Dialed):
            found.wire.close()


def _why(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {exc.verify_message}"
    if isinstance(exc, OSError):
        return exc.strerror or str(exc) or type(exc).__name__
    return str(exc)
