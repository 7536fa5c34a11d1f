"""A client that shares no code with the daemon: newline JSON-RPC on a Unix socket, after the handshake."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
HANDSHAKE = (
    {
        "jsonrpc": "2.0",
        "id": "hello",
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
)


def call(path: Path, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of one tools/call on a connection of its own; AssertionError on anything else."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(path))
        params = {"name": tool, "arguments": arguments}
        request = {"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": params}
        with client.makefile("rw", encoding="utf-8") as lines:
            lines.write("".join(json.dumps(message) + "\n" for message in (*HANDSHAKE, request)))
            lines.flush()
            replies = _replies(lines)
    assert "result" in replies["hello"], replies
    assert "result" in replies["call"], replies
    result: dict[str, Any] = replies["call"]["result"]
    return result


def _replies(lines: Iterable[str]) -> dict[str, Any]:
    """What came, by id, up to the call's answer."""
    replies: dict[str, Any] = {}
    for line in lines:
        reply = json.loads(line)
        replies[reply.get("id")] = reply
        if "call" in replies:
            return replies
    raise AssertionError(f"the connection was closed without an answer, after {replies}")
