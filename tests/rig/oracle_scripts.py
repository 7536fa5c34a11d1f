"""Seeded byte sequences: what a client of any era might send on one connection, some of it broken."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.chaos.mcp import Fuzzer
from tests.rig.desk import MODERN

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "1999-01-01"]
ODD_VERSIONS: list[Any] = ["2025-11-25", "2099-01-01", "", 5, None]
CALLS: list[dict[str, Any]] = [
    {"name": "echo", "arguments": {"text": "hello"}},
    {"name": "echo", "arguments": {"text": "é" * 40, "times": 2}},
    {"name": "echo", "arguments": {"text": 5}},
    {"name": "echo", "arguments": {}},
    {"name": "echo"},
    {"name": "weigh", "arguments": {"data": "AAAA"}},
    {"name": "weigh", "arguments": {"data": "A"}},
    {"name": "count", "arguments": {"steps": 2}},
    {"name": "wait", "arguments": {}},
    {"name": "refuse", "arguments": {}},
    {"name": "fail", "arguments": {}},
    {"name": "paint", "arguments": {}},
    {"name": "nonsense", "arguments": {}},
    {"arguments": {}},
    {"name": "echo", "arguments": []},
]
URIS: list[Any] = ["test://note", "test://items/7", "test://items/a%20b", "test://nothing", "", "no uri", 5]
LISTENS: list[dict[str, Any]] = [
    {"notifications": {"toolsListChanged": True}},
    {"notifications": {"resourcesListChanged": True, "promptsListChanged": True}},
    {"notifications": {"resourceSubscriptions": ["test://note"]}},
    {"notifications": {"resourceSubscriptions": ["test://nothing"], "toolsListChanged": False}},
    {"notifications": {"resourceSubscriptions": [5]}},
    {"notifications": {}},
    {"notifications": []},
    {},
]
PROMPTS: list[dict[str, Any]] = [
    {"name": "greet", "arguments": {"name": "Ada"}},
    {"name": "greet", "arguments": {"name": 5}},
    {"name": "greet", "arguments": {}},
    {"name": "greet"},
    {"name": "x"},
    {},
]
PAGES: list[dict[str, Any]] = [{}, {}, {"cursor": "nonsense"}, {"cursor": 5}]
COMPLETIONS: list[dict[str, Any]] = [
    {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "A"}},
    {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "x", "value": ""}},
    {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "name", "value": ""}},
    {
        "ref": {"type": "ref/resource", "uri": "test://items/{number}"},
        "argument": {"name": "number", "value": "2"},
    },
    {"ref": {"type": "ref/nonsense"}, "argument": {"name": "name", "value": ""}},
    {"ref": {"type": "ref/prompt", "name": "greet"}},
    {},
]
METHODS: list[tuple[int, str, list[dict[str, Any]]]] = [
    (10, "tools/call", CALLS),
    (3, "tools/list", PAGES),
    (2, "ping", [{}]),
    (2, "server/discover", [{}]),
    (2, "subscriptions/listen", LISTENS),
    (1, "resources/list", PAGES),
    (1, "resources/templates/list", PAGES),
    (3, "resources/read", [*({"uri": uri} for uri in URIS), {}]),
    (1, "resources/subscribe", [*({"uri": uri} for uri in URIS), {}]),
    (1, "resources/unsubscribe", [{"uri": "test://note"}, {}]),
    (1, "prompts/list", PAGES),
    (2, "prompts/get", PROMPTS),
    (2, "completion/complete", COMPLETIONS),
    (1, "logging/setLevel", [{"level": "info"}, {"level": "loud"}, {}]),
    (1, "nonsense", [{}, {"a": [1]}]),
    (1, "notifications/initialized", [{}]),
]
IDS: list[Any] = [1, 2, 3, "1", "two", -1, 0, 2**53, ""]
BAD_IDS: list[Any] = [None, True, 1.5, [], {}]
BROKEN_SHARE = 0.25


class Scripts:
    """The sequences of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.fuzzer = Fuzzer(seed)

    def __iter__(self) -> Iterator[list[bytes]]:
        while True:
            yield [*self.opening(), *(self.line() for _ in range(self.random.randint(1, 6)))]

    def opening(self) -> list[bytes]:
        """How a connection begins: at once, with a handshake, with a discovery, or with both."""
        lines = []
        if self.random.random() < 0.2:
            lines.append(_text("server/discover", {"_meta": MODERN}, "d"))
        if self.random.random() < 0.5:
            params = {
                "protocolVersion": self.random.choice(VERSIONS),
                "capabilities": {},
                "clientInfo": {"name": "script", "version": "0"},
            }
            lines.append(_text("initialize", params, "i"))
            if self.random.random() < 0.9:
                lines.append(_text("notifications/initialized", {}))
        return lines

    def line(self) -> bytes:
        """One line: mostly a message somebody might mean."""
        roll = self.random.random()
        if roll < BROKEN_SHARE:
            return self.fuzzer.line()
        if roll < BROKEN_SHARE + 0.1:
            return self.notification()
        if roll < BROKEN_SHARE + 0.15:
            batch = [json.loads(self.request()) for _ in range(self.random.randint(0, 3))]
            return json.dumps(batch).encode()
        return self.request()

    def request(self) -> bytes:
        """A request, modern or not, sometimes with an envelope or id that is wrong."""
        weights, methods, choices = zip(*METHODS, strict=True)
        (at,) = self.random.choices(range(len(methods)), weights)
        params = dict(self.random.choice(choices[at]))
        if self.random.random() < 0.6:
            params["_meta"] = self.envelope()
        elif self.random.random() < 0.2:
            params["_meta"] = {"progressToken": self.random.choice(["p", 7])}
        request_id = self.random.choice(BAD_IDS if self.random.random() < 0.05 else IDS)
        return _text(methods[at], params, request_id)

    def envelope(self) -> dict[str, Any]:
        """The modern one, at times with something wrong or more in it."""
        meta: dict[str, Any] = dict(MODERN)
        match self.random.randrange(12):
            case 0:
                del meta[self.random.choice(list(meta))]
            case 1:
                meta["io.modelcontextprotocol/protocolVersion"] = self.random.choice(ODD_VERSIONS)
            case 2:
                meta["progressToken"] = self.random.choice(["p", 7])
            case 3:
                meta["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            case 4:
                meta["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {}, "sampling": {}}
        return meta

    def notification(self) -> bytes:
        """A notification, mostly a cancellation."""
        if self.random.random() < 0.7:
            return _text("notifications/cancelled", {"requestId": self.random.choice(IDS), "reason": "bored"})
        return _text(self.random.choice(["notifications/initialized", "notifications/nonsense"]), {})


def _text(method: str, params: dict[str, Any], *request_id: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    if request_id:
        message["id"] = request_id[0]
    return json.dumps(message).encode()
