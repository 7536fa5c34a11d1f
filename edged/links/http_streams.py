"""The streams of one session: which message goes out where, and what a client that comes back still gets.

No asyncio. A stream is begun by a POST and outlives its connection; stream 0 is for what no request asked
for. Source: MCP 2025-11-25 basic/transports.mdx, "Streamable HTTP".
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

import msgspec
from msgspec import UNSET

from edged.links import http_events
from edged.links.http_events import Log, Place
from edged.links.http_response import Fields, Response
from edged.links.http_rules import Outgoing, outgoing
from edged.mcp.jsonrpc import Id

_UNASKED: Final = frozenset(
    f"notifications/{what}"
    for what in (
        "tools/list_changed",
        "prompts/list_changed",
        "resources/list_changed",
        "resources/updated",
        "elicitation/complete",
    )
)

current: ContextVar[Stream | None] = ContextVar("current", default=None)
"""The stream of the request being taken in, or whose handler runs."""


class Stream:
    """Messages in order, sent to a response where one is attached; its last one ends it."""

    def __init__(self, number: int, log: Log, *, primes: bool = False, ended: bool = False) -> None:
        self.number = number
        self.ended = ended
        self.fields: Fields = ()
        self._response: Response | None = None
        self._log = log
        self._primes = self._polls = primes
        self._count = 0  # messages so far
        self._sent = 0  # those that somebody was there to take

    @property
    def attached(self) -> bool:
        """Whether somebody is there to take messages."""
        return self._response is not None

    def attach(self, response: Response) -> None:
        """Send to this response from now on, in place of another."""
        self.detach()
        self._response = response
        response.gone = self._lost
        response.quiet = self._open
        if self.number == 0:
            response.ending = self.detach

    def detach(self) -> None:
        """End the response, not the stream."""
        if self._response is not None:
            self._open().end()
            self._response = None

    def send(self, message: bytes) -> None:
        """Send a message that others may follow."""
        self._count += 1
        place = Place(self.number, self._count)
        self._log.keep(place, message)
        if self._response is not None:
            self._open().write(http_events.event(message, place))
            self._sent = self._count

    def finish(self, message: bytes, status: int = 200) -> None:
        """Send the last message: alone, as JSON, where none came before it."""
        self.ended = True
        if self._response is not None and not self._response.streaming:
            self._response.send(status, message, self.fields)
            self._response = None
        else:
            self.send(message)
            self.detach()

    def drop(self) -> None:
        """End the stream: nothing more will come."""
        self.ended = True
        self.detach()

    def resume(self, after: int | None = None) -> None:
        """Send what followed the event of that number, or what nobody was there to take."""
        self._primes = False
        after = self._sent if after is None else after
        for place, message in self._log.after(Place(self.number, after)):
            if self._response is not None:
                self._open().write(http_events.event(message, place))
                self._sent = max(self._sent, place.number)
        if self._response is not None:
            self._open()
        if self.ended:
            self.detach()

    def poll(self, retry_ms: int) -> None:
        """Have a client that waits come back for the rest."""
        if self._polls and self._response is not None:
            self._open().write(http_events.priming(Place(self.number, self._sent), retry_ms))
            self.detach()

    def _open(self) -> Response:
        assert self._response is not None  # noqa: S101 - every caller asked
        if not self._response.streaming:
            self._response.stream(self.fields)
            if self._primes:
                self._primes = False
                self._response.write(http_events.priming(Place(self.number, self._sent)))
        return self._response

    def _lost(self) -> None:
        self._response = None


class Streams:
    """All streams of a session."""

    def __init__(self, replay_max_bytes: int) -> None:
        self._log = Log(replay_max_bytes)
        self._unasked = Stream(0, self._log)
        self._running: dict[int, Stream] = {}
        self._by_id: dict[Id, Stream] = {}
        self._by_token: dict[Id, Stream] = {}
        self._by_question: dict[Id, Stream] = {}
        self._begun = 0

    @property
    def attached(self) -> bool:
        """Whether somebody takes what is sent."""
        return any(stream.attached for stream in (self._unasked, *self._running.values()))

    def begin(self, requests: Iterable[Id], tokens: Iterable[Id], *, primes: bool) -> Stream:
        """A stream that will answer these requests and carry the progress of these tokens."""
        self._begun += 1
        stream = self._running[self._begun] = Stream(self._begun, self._log, primes=primes)
        self._by_id.update(dict.fromkeys(requests, stream))
        self._by_token.update(dict.fromkeys(tokens, stream))
        return stream

    def taken(self, requests: Iterable[Id]) -> Id | None:
        """One of these ids that a running request has; None where none has."""
        return next((one for one in requests if one in self._by_id), None)

    def asked(self, question: object) -> Stream | None:
        """The stream on which that question of ours went out, which is now answered."""
        return self._by_question.pop(question, None) if isinstance(question, (int, str)) else None

    def listen(self, response: Response) -> None:
        """Send what no request asked for to this response."""
        self._unasked.attach(response)
        self._unasked.resume()

    def resume(self, place: Place, response: Response) -> None:
        """Go on with a stream after that place; one that is over ends."""
        stream = self._unasked if place.stream == 0 else self._running.get(place.stream)
        if stream is None:
            stream = Stream(place.stream, self._log, ended=True)
        stream.attach(response)
        stream.resume(place.number)

    def send(self, message: bytes) -> None:
        """Send a message of the session's to where it belongs."""
        if message.startswith(b"["):
            answers = msgspec.json.decode(message, type=list[Outgoing])
            found = next((self._by_id[one.id] for one in answers if one.id in self._by_id), current.get())
            self._finish(found, message, 200)
            return
        seen = outgoing(message)
        if seen.is_answer:
            known = seen.id is not UNSET and seen.id in self._by_id
            stream = self._by_id[seen.id] if known else current.get()  # type: ignore[index] # known says so
            self._finish(stream, message, 200 if known else 400)
        else:
            stream = self._related(seen)
            if seen.id is not UNSET:
                self._by_question[seen.id] = stream
            stream.send(message)

    def cancelled(self, request: object) -> None:
        """A client cancelled this: nothing will answer it."""
        stream = self._by_id.pop(request, None) if isinstance(request, (int, str)) else None
        if stream is not None and stream not in self._by_id.values():
            stream.drop()
            self.forget(stream)

    def close(self) -> None:
        """End everything."""
        for stream in (self._unasked, *self._running.values()):
            stream.drop()

    def _related(self, seen: Outgoing) -> Stream:
        """Progress has a token; what a handler says goes with its request; the rest has a stream of its own."""
        if seen.token is not UNSET and seen.token in self._by_token:
            return self._by_token[seen.token]
        if seen.method in _UNASKED:
            return self._unasked
        stream = current.get()
        if stream is not None and self._running.get(stream.number) is stream:
            return stream
        return next(reversed(self._running.values()), self._unasked)

    def _finish(self, stream: Stream | None, message: bytes, status: int) -> None:
        if stream is not None and not stream.ended:
            stream.finish(message, status)
            self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """Let go of a stream on which nothing more will come."""
        self._running.pop(stream.number, None)
        for known in (self._by_id, self._by_token, self._by_question):
            for one in [one for one, kept in known.items() if kept is stream]:
                del known[one]
