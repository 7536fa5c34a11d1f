"""Raw HTTP on a Unix socket, for tests that send what no client would."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, NamedTuple

from tests.rig.desk import MODERN

TIMEOUT_S = 20.0
BOTH = "application/json, text/event-stream"


class Answer(NamedTuple):
    """A response; the body of a stream is left to `HttpTalk.event`."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int | None:
        """JSON-RPC's error code."""
        code: int | None = self.json.get("error", {}).get("code")
        return code


class Event(NamedTuple):
    """A server-sent event."""

    id: str | None
    retry: str | None
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class HttpTalk:
    """One connection."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(path))
        self._file = self.sock.makefile("rb")
        self._text = b""

    def __enter__(self) -> HttpTalk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def ask(self, request: bytes) -> Answer:
        """Send a request, take its answer."""
        self.sock.sendall(request)
        return self.take()

    def take(self) -> Answer:
        """The next response, whole unless it is a stream."""
        status = int(self._file.readline().split()[1])
        fields = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        self._text = b""
        return Answer(status, fields, self._file.read(int(fields.get("content-length", 0))))

    def event(self) -> Event | None:
        """The next event of a stream, comments left out; None at the stream's end."""
        while True:
            while b"\n\n" not in self._text:
                if not (chunk := self._chunk()):
                    return None
                self._text += chunk
            text, _, self._text = self._text.partition(b"\n\n")
            if not text.startswith(b":"):
                fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
                return Event(fields.get("id"), fields.get("retry"), fields["data"])

    def events(self) -> list[Event]:
        """Every event to the stream's end."""
        return list(iter(self.event, None))

    def ended(self) -> bool:
        """Whether the server hung up."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _chunk(self) -> bytes:
        if not (size := self._file.readline().strip()):
            return b""
        data = self._file.read(int(size, 16))
        self._file.readline()
        return data


def http(
    body: bytes = b"",
    fields: dict[str, str | None] | None = None,
    *,
    method: str = "POST",
    target: str = "/mcp",
    version: str = "1.1",
) -> bytes:
    """A request with the fields it needs; a field given as None is left out."""
    usual: dict[str, str | None] = {"Host": "localhost", "Accept": BOTH}
    if method == "POST":
        usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{key}: {value}" for key, value in {**usual, **(fields or {})}.items() if value is not None]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "", ""]).encode() + body


def message(method: str, params: dict[str, Any] | None = None, request_id: int | str | None = 1) -> bytes:
    """A JSON-RPC message as it is."""
    head = {"jsonrpc": "2.0", "method": method, "params": params or {}}
    return json.dumps(head if request_id is None else {**head, "id": request_id}).encode()


def modern(
    method: str,
    params: dict[str, Any] | None = None,
    request_id: int | str = 1,
    *,
    fields: dict[str, str | None] | None = None,
    meta: dict[str, Any] | None = None,
) -> bytes:
    """A request of the stateless era, with the fields that repeat it."""
    given = params or {}
    name = given.get("name") or given.get("uri")
    repeated: dict[str, str | None] = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if name:
        repeated["Mcp-Name"] = name
    body = message(method, {**given, "_meta": {**MODERN, **(meta or {})}}, request_id)
    return http(body, {**repeated, **(fields or {})})


def call(tool: str, arguments: dict[str, Any] | None = None, request_id: int | str = 1, **more: Any) -> bytes:
    """A call of a tool, in the stateless era."""
    return modern("tools/call", {"name": tool, "arguments": arguments or {}}, request_id, **more)
