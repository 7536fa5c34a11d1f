"""Raw lines on a Unix socket, for tests that send what no client would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from tests.rig.desk import MODERN

TIMEOUT_S = 20.0


class _End:
    """What both kinds of end have in common."""

    def read(self, line: bytes) -> Any:
        """The message on a line."""
        return json.loads(line)


class Talk(_End):
    """One connection: send bytes, take lines."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(path))
        self._lines = self.sock.makefile("rb")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, in both directions."""
        self._lines.close()
        self.sock.close()

    def send(self, *texts: bytes) -> None:
        """Send each text as a line."""
        self.sock.sendall(b"".join(text + b"\n" for text in texts))

    def take(self) -> Any:
        """The next message; None at the end."""
        line = self._lines.readline()
        return self.read(line) if line else None

    def until(self, request_id: int | str) -> list[Any]:
        """Every message up to and with the answer of that id."""
        found = []
        while (message := self.take()) is not None:
            found.append(message)
            if isinstance(message, dict) and message.get("id") == request_id:
                return found
        raise AssertionError("the connection was closed")

    def call(self, tool: str, arguments: dict[str, Any] | None = None, request_id: int | str = 1) -> Any:
        """Call a tool and take the one answer."""
        self.send(request("tools/call", {"name": tool, "arguments": arguments or {}}, request_id))
        (answer,) = self.until(request_id)
        return answer["result"]


class AsyncTalk(_End):
    """The same within an event loop."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self._buffer = b""

    async def connect(self, path: Path) -> AsyncTalk:
        """Connect; gives itself."""
        await asyncio.get_running_loop().sock_connect(self.sock, str(path))
        return self

    async def __aenter__(self) -> AsyncTalk:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sock.close()

    async def send(self, *texts: bytes) -> None:
        """Send each text as a line."""
        await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(text + b"\n" for text in texts))

    async def take(self) -> Any:
        """The next message; None at the end."""
        while b"\n" not in self._buffer:
            try:
                chunk = await asyncio.get_running_loop().sock_recv(self.sock, 65_536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return self.read(line)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None) -> Any:
        """Call a tool and take the next message."""
        with contextlib.suppress(BrokenPipeError):  # what was sent to us before is still there to read
            await self.send(request("tools/call", {"name": tool, "arguments": arguments or {}}))
        return await self.take()


def request(method: str, params: dict[str, Any] | None = None, request_id: int | str = 1) -> bytes:
    """A request of the stateless era."""
    message = {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": method,
        "params": {**(params or {}), "_meta": MODERN},
    }
    return json.dumps(message, separators=(",", ":")).encode()
