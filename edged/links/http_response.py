"""The answer to one HTTP request: whole at once, or a stream of events; harmless when it comes too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from edged.links import http_events
from edged.links.http_head import EVENTS, JSON, Refusal
from edged.mcp import jsonrpc

Fields = Iterable[tuple[str, str]]


class Carrier(Protocol):
    """The connection that a response goes out on, as the response sees it."""

    def start(self, status: int, fields: Fields) -> None:
        """Send the head of the answer."""

    def carry(self, data: bytes) -> None:
        """Send a part of its body."""

    def complete(self) -> None:
        """End it; the connection turns to the next request."""


def _nothing() -> None:
    pass


class Response:
    """What an exchange writes to.

    `gone` is called once when the peer leaves before the end, `quiet` when nothing was begun for `keepalive_s`,
    `ending` when the link stops and wants no more of a stream that has no end of its own, `drained` when the
    peer reads again after it was `congested`. None is called after `end` or `send`.
    """

    def __init__(self, carrier: Carrier, keepalive_s: float) -> None:
        self.gone: Callable[[], None] = _nothing
        self.quiet: Callable[[], object] = _nothing
        self.ending: Callable[[], None] = _nothing
        self.drained: Callable[[], None] = _nothing
        self.congested = False
        self.open = True
        self.streaming = False
        self._carrier = carrier
        self._keepalive_s = keepalive_s
        self._timer = asyncio.get_running_loop().call_later(keepalive_s, self._is_quiet)

    def send(self, status: int, body: bytes = b"", fields: Fields = (), kind: str = JSON) -> None:
        """Answer with this alone."""
        if not self.open:
            return
        self._close()
        content = [("Content-Type", kind)] if body else []
        self._carrier.start(status, [*content, ("Content-Length", str(len(body))), *fields])
        if body:
            self._carrier.carry(body)
        self._carrier.complete()

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal of HTTP's own, which says why as JSON-RPC would."""
        body = jsonrpc.error(jsonrpc.Failure(jsonrpc.INVALID_REQUEST, refusal.reason))
        self.send(refusal.status, body, [("Allow", ", ".join(refusal.allow))] if refusal.allow else [])

    def stream(self, fields: Fields = ()) -> None:
        """Begin a stream of events."""
        if self.open and not self.streaming:
            self.streaming = True
            head = [("Content-Type", EVENTS), ("Cache-Control", "no-cache, no-transform")]
            self._carrier.start(200, [*head, ("X-Accel-Buffering", "no"), *fields])

    def write(self, event: bytes) -> None:
        """Send one event of a stream that has begun."""
        if self.open:
            self._carrier.carry(event)
            self._rest()

    def end(self) -> None:
        """End the stream."""
        if self.open:
            self._close()
            self._carrier.complete()

    def lose(self) -> None:
        """The peer is gone."""
        if self.open:
            self._close()
            self.gone()

    def _close(self) -> None:
        self.open = False
        self._timer.cancel()

    def _rest(self) -> None:
        self._timer.cancel()
        if self.open:
            self._timer = asyncio.get_running_loop().call_later(self._keepalive_s, self._is_quiet)

    def _is_quiet(self) -> None:
        if self.streaming:
            self.write(http_events.PING)
        else:
            self.quiet()
            self._rest()
