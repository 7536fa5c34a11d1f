"""Server-sent events: how messages look on a stream, and the ones kept for a client that comes back.

Pure. Source: HTML Living Standard 9.2 "Server-sent events"; MCP 2025-11-25 basic/transports.mdx
("Resumability and Redelivery").
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, NamedTuple

PING: Final = b":\n\n"

_EVENT_ID: Final = re.compile(r"(?P<stream>[0-9]{1,9})-(?P<place>[0-9]{1,9})")


class Place(NamedTuple):
    """Where in a session an event stands: the stream, and how many came before it there."""

    stream: int
    number: int

    def __str__(self) -> str:
        return f"{self.stream}-{self.number}"


def place_of(event_id: str) -> Place | None:
    """The place a `Last-Event-ID` names; None for one we never gave."""
    found = _EVENT_ID.fullmatch(event_id)
    return Place(int(found["stream"]), int(found["place"])) if found else None


def event(message: bytes, place: Place | None = None) -> bytes:
    """A message, which our encoder writes without line breaks, as an event."""
    named = f"id: {place}\n".encode() if place else b""
    return b"%sevent: message\ndata: %s\n\n" % (named, message)


def priming(place: Place, retry_ms: int | None = None) -> bytes:
    """An event without a message, which gives a client the id to come back with, and when."""
    retry = f"retry: {retry_ms}\n" if retry_ms is not None else ""
    return f"id: {place}\n{retry}data: \n\n".encode()


class Log:
    """The last messages of one session, over all its streams, within a bound of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._kept: deque[tuple[Place, bytes]] = deque()

    def keep(self, place: Place, message: bytes) -> None:
        """Keep a message, in place of older ones."""
        self._kept.append((place, message))
        self._left -= len(message)
        while self._left < 0:
            self._left += len(self._kept.popleft()[1])

    def after(self, place: Place) -> list[tuple[Place, bytes]]:
        """What that stream sent after `place`, as far as it is still here."""
        return [kept for kept in self._kept if kept[0].stream == place.stream and kept[0] > place]
