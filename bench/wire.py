"""Requests as bytes: JSON-RPC as MCP 2026-07-28 has it, and the HTTP around it where a server wants that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(method: str, params: Mapping[str, Any], ident: int | str = 1) -> bytes:
    """A request of the stateless era, as one line."""
    message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": {**params, "_meta": META}}
    return msgspec.json.encode(message) + b"\n"


def tool_call(name: str, arguments: Mapping[str, Any], ident: int | str = 1) -> bytes:
    return request("tools/call", {"name": name, "arguments": arguments}, ident)


def http_post(path: str, body: bytes, **headers: str) -> bytes:
    """A request on a connection that stays open; header names with `_` for `-`."""
    fields = {"Host": "localhost:80", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def http_tool_call(name: str, arguments: Mapping[str, Any]) -> bytes:
    """`tool_call` over streamable HTTP, with the headers its 2026-07-28 revision requires."""
    return http_post(
        "/mcp",
        tool_call(name, arguments).rstrip(),
        Content_Type="application/json",
        Accept="application/json, text/event-stream",
        MCP_Protocol_Version=META["io.modelcontextprotocol/protocolVersion"],  # type: ignore[arg-type] # a str here
        Mcp_Method="tools/call",
        Mcp_Name=name,
    )
