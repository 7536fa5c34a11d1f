"""A connection that keeps what is sent over it: lets a test hold a conversation without a socket or a loop."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from edged.mcp.catalog import Principal, Tier, ToolResult
from edged.mcp.request import InFlight
from edged.mcp.server import Server

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def envelope(capabilities: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The `_meta` of a request of the stateless era."""
    return {**MODERN, "io.modelcontextprotocol/clientCapabilities": capabilities or {}, **more}


class Later:
    """Work of a tool that ends when the test says so: the desk settles it, and awaits nothing."""

    def __await__(self) -> Generator[None, None, ToolResult]:
        yield
        raise AssertionError


class Desk:
    """The outlet of one conversation, and its other end."""

    def __init__(self, server: Server, tier: Tier = Tier.OPERATOR, name: str = "uid:1000") -> None:
        self.sent: list[Any] = []
        self.working: dict[InFlight, Awaitable[object]] = {}
        self.cancelled: list[InFlight] = []
        self.callbacks: list[Callable[[], None]] = []
        self.descriptors: list[int] = []
        self.congested = False
        self._server = server
        self.conversation = server.connect(self, Principal(name, ("users",), tier))

    def send(self, message: bytes) -> None:
        assert b"\n" not in message
        self.sent.append(json.loads(message))

    def send_from_thread(self, message: bytes) -> None:
        self.send(message)

    def send_about(self, _request_id: int | str | None, message: bytes) -> None:
        self.send(message)

    def work(self, call: InFlight, work: Awaitable[object]) -> None:
        self.working[call] = work

    def cancel(self, call: InFlight) -> None:
        self.cancelled.append(call)

    def on_close(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def take_descriptor(self) -> int | None:
        return self.descriptors.pop(0) if self.descriptors else None

    def settle(self, call: InFlight, outcome: object) -> list[Any]:
        """End one call's work; give what was sent because of it."""
        del self.working[call]
        before = len(self.sent)
        self.conversation.settle(call, outcome)
        return self.sent[before:]

    def tell(self, text: bytes | str) -> list[Any]:
        """Send a text; give what was sent because of it."""
        before = len(self.sent)
        self.conversation.receive(text.encode() if isinstance(text, str) else text)
        return self.sent[before:]

    def ask(self, method: str, params: dict[str, Any] | None = None, request_id: int | str = 1) -> Any:
        """Send a request as the conversation stands; give the one answer."""
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}
        (answer,) = self.tell(json.dumps(message))
        assert answer["id"] == request_id
        return answer

    def ask_modern(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        request_id: int | str = 1,
        **meta: Any,
    ) -> Any:
        """Send a request with the envelope of the stateless era; give the one answer."""
        return self.ask(method, {**(params or {}), "_meta": envelope(**meta)}, request_id)

    def begin(self, method: str, params: dict[str, Any], request_id: int | str = 1) -> list[Any]:
        """Send a request as the conversation stands; give what was sent because of it."""
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return self.tell(json.dumps(message))

    def reply(self, request_id: int | str, **members: Any) -> list[Any]:
        """Answer a request of the server's, with a `result` or an `error`; give what was sent because of it."""
        return self.tell(json.dumps({"jsonrpc": "2.0", "id": request_id, **members}))

    def notify(self, method: str, params: dict[str, Any] | None = None) -> list[Any]:
        """Send a notification; give what was sent because of it."""
        return self.tell(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}}))

    def shake_hands(self, version: str, **capabilities: Any) -> Any:
        """Agree on a revision of the handshake era; give the server's result."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "0"},
        }
        result = self.ask("initialize", params)["result"]
        assert self.notify("notifications/initialized") == []
        return result

    def hang_up(self) -> None:
        """Be gone."""
        self._server.disconnect(self.conversation)
