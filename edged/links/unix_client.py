"""A blocking client on the daemon's Unix socket, for the CLI and tests. One thread, one request at a time."""

from __future__ import annotations

import array
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from edged import __version__
from edged.errors import DeadlineExceeded, Unreachable
from edged.mcp.client import Caller, Client, Incoming, Progress, progress_of

_BUFFER_BYTES: Final = 1 << 20
_CONNECT_TIMEOUT_S: Final = 5.0


class UnixClient(Caller):
    """Connects when it is made; raises Unreachable when nobody listens at `path`."""

    def __init__(self, path: Path | str, name: str = "edged-cli") -> None:
        self._client = Client(name, __version__)
        self._buffer = bytearray()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._sock.settimeout(_CONNECT_TIMEOUT_S)
        try:
            self._sock.connect(str(path))
        except OSError as exc:
            self._sock.close()
            raise Unreachable(f"cannot reach the daemon at {path}: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        fds: Sequence[int] = (),
        timeout_s: float = 30.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]:
        """See Caller; file descriptors may go beside it."""
        deadline = time.monotonic() + timeout_s
        request_id, message = self._client.request(method, params or {}, progress=on_progress is not None)
        try:
            self._send(message, fds, deadline)
            while True:
                incoming = self._receive(deadline)
                if incoming.id == request_id:
                    return incoming.value()
                if on_progress and (progress := progress_of(incoming, request_id)):
                    on_progress(progress)
        except TimeoutError as exc:
            self._cancel(request_id)
            raise DeadlineExceeded(f"no answer to {method} within {timeout_s:g} s", 1.0) from exc
        except OSError as exc:
            raise Unreachable(f"the daemon went away: {exc.strerror or exc}") from exc

    def _send(self, message: bytes, fds: Sequence[int], deadline: float) -> None:
        self._sock.settimeout(_left(deadline))
        rest = memoryview(message)
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            rest = rest[self._sock.sendmsg([rest], [rights]) :]
        self._sock.sendall(rest)
        self._sock.sendall(b"\n")

    def _receive(self, deadline: float) -> Incoming:
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            self._sock.settimeout(_left(deadline))
            chunk = self._sock.recv(_BUFFER_BYTES)
            if not chunk:
                raise ConnectionResetError("it closed the connection")
            self._buffer += chunk
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        try:
            return self._client.receive(line)
        except msgspec.DecodeError as exc:
            raise ConnectionError(f"it sent what is no MCP message: {exc}") from exc

    def _cancel(self, request_id: int) -> None:
        with contextlib.suppress(OSError):
            self._sock.settimeout(0)
            self._sock.send(self._client.cancel(request_id, "timed out") + b"\n")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
