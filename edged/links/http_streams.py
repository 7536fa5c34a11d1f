"""The streams of one session: which message goes out where, and what a client that comes back still gets.

No asyncio. A stream is begun by a POST and outlives its connection; stream 0 is for what no request asked
for. Source: MCP 2025-11-25 basic/transports.mdx, "Streamable HTTP".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from edged.links import http_events
from edged.links.http_events import Log, Place
from edged.links.http_response import Fields, Response
from edged.links.http_rules import Outgoing
from edged.mcp.jsonrpc import Id


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

    @property
    def congested(self) -> bool:
        """Whether nobody takes messages now."""
        return self._response is None or self._response.congested

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
            response, self._response = self._open(), None
            response.end()

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
        self._taking: Stream | None = None
        self._begun = 0

    @property
    def attached(self) -> bool:
        """Whether somebody takes what is sent."""
        return any(stream.attached for stream in (self._unasked, *self._running.values()))

    @property
    def congested(self) -> bool:
        """Whether what nobody asked for would pile up; the listener keeps the newest of it."""
        return self._unasked.congested

    def begin(self, requests: Iterable[Id], *, primes: bool) -> Stream:
        """A stream that will answer these requests."""
        self._begun += 1
        stream = self._running[self._begun] = Stream(self._begun, self._log, primes=primes)
        self._by_id.update(dict.fromkeys(requests, stream))
        return stream

    def taken(self, requests: Iterable[Id]) -> Id | None:
        """One of these ids that a running request has; None where none has."""
        return next((one for one in requests if one in self._by_id), None)

    @contextlib.contextmanager
    def taking(self, stream: Stream | None) -> Iterator[None]:
        """While a message is taken in: where an error goes that belongs to no request."""
        self._taking = stream
        try:
            yield
        finally:
            self._taking = None

    def introduce(self, fields: Fields) -> None:
        """Have the answer to what is taken in carry these fields."""
        if self._taking is not None:
            self._taking.fields = fields

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
        """Send an answer, or those of a batch together."""
        seen = msgspec.json.decode(message, type=list[Outgoing] | Outgoing)
        answers = seen if isinstance(seen, list) else [seen]
        stream = next((self._by_id[one.id] for one in answers if one.id in self._by_id), None)
        if stream is not None:
            self._finish(stream, message, 200)
        elif self._taking is not None and not self._taking.ended:
            self._finish(self._taking, message, 200 if isinstance(seen, list) else 400)

    def send_about(self, request: Id | None, message: bytes) -> None:
        """Send what belongs to a request, or to none."""
        stream = self._unasked if request is None else self._by_id.get(request)
        if stream is not None:
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

    def _finish(self, stream: Stream, message: bytes, status: int) -> None:
        stream.finish(message, status)
        self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """Let go of a stream on which nothing more will come."""
        self._running.pop(stream.number, None)
        self._by_id = {one: kept for one, kept in self._by_id.items() if kept is not stream}
