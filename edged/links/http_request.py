"""A request, whole, and what stands between a connection and whoever answers it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from edged.links.http_head import Head
from edged.links.http_response import Response
from edged.mcp.catalog import Principal


class Request(NamedTuple):
    """A request, whole."""

    head: Head
    body: bytes


class Peer(Protocol):
    """Who asked."""

    principal: Principal
    tasks: asyncio.TaskGroup
    """Where handlers run."""


class Handler(Protocol):
    """What requests are for."""

    def serve(self, request: Request, response: Response, peer: Peer) -> None:
        """Answer a request, now or later."""


class Budget:
    """The bytes that the bodies of all peers may hold together."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, count: int) -> bool:
        """Whether there was room for so many more; then they are taken."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give(self, count: int) -> None:
        """Give them back."""
        self._left += count
