"""One HTTP/1.1 connection: bytes to requests, one at a time and in order, each with a deadline and a bound.

h11 frames. What a peer pipelines waits until the request before it is answered and read. Who hangs up while a
request runs is noticed at once (unless much was pipelined behind it); who does not read a stream is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11

from edged.links.config import HttpConfig
from edged.links.http_head import Head, Headers, Refusal, refuse
from edged.links.http_request import Budget, Handler, Request
from edged.links.http_response import Fields, Response
from edged.mcp.catalog import Principal
from edged.mcp.config import McpConfig

_log = logging.getLogger(__name__)

_PIPELINED_MAX_BYTES: Final = 256 * 1024
_LINGER_S: Final = 2.0


class HttpConnection(asyncio.Protocol):
    """Reads requests for a `Handler`; `gone` is called once, when the connection is closed."""

    def __init__(
        self,
        principal: Principal,
        tasks: asyncio.TaskGroup,
        *,
        handler: Handler,
        config: HttpConfig,
        limits: McpConfig,
        budget: Budget,
        gone: Callable[[HttpConnection], None],
    ) -> None:
        self.principal = principal
        self.tasks = tasks
        self._handler = handler
        self._config = config
        self._limits = limits
        self._budget = budget
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=config.head_max_bytes)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._refusal: Refusal | None = None
        self._body = bytearray()
        self._held_bytes = 0
        self._response: Response | None = None
        self._waiting_bytes = 0
        self._made = self._begun = self._advancing = self._ending = self._lingering = self._unread = False

    async def take_over(self, sock: socket.socket) -> None:
        """Begin to read and write on an accepted socket."""
        try:
            await self._loop.connect_accepted_socket(lambda: self, sock)
        finally:
            if not self._made:
                sock.close()
                self._gone(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket's
        self._transport, self._made = transport, True
        self._wait(self._config.idle_s)
        if self._ending:
            self.finish()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._lingering:
            return
        if self._response is not None:
            self._waiting_bytes += len(data)
            if self._waiting_bytes > _PIPELINED_MAX_BYTES and self._transport is not None:
                self._transport.pause_reading()
        elif not self._begun:
            self._expect_rest()
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: who stops sending is gone, as far as HTTP goes."""
        return False

    def pause_writing(self) -> None:
        """See asyncio.Protocol: no further request is begun while an answer waits to be read."""
        self._unread = True
        if self._response is not None:
            self._response.congested = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._unread = False
        if self._response is not None:
            self._response.congested = False
            self._response.drained()
        else:
            self._loop.call_soon(self._advance)

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._cancel_timer()
        self._drop_body()
        if self._response is not None:
            self._response.lose()
            self._response = None
        self._gone(self)

    def finish(self) -> None:
        """Take no further request; close when the one that runs is answered."""
        self._ending = True
        if self._response is not None:
            self._response.ending()
        elif self._transport is not None:
            self._transport.close()

    def close(self, reason: str) -> None:
        """Let go at once."""
        _log.debug("peer dropped principal=%s reason=%s", self.principal.name, reason)
        if self._transport is not None:
            self._transport.abort()

    # ---- in

    def _advance(self) -> None:
        """Take in what is complete, until a request runs or more has to come."""
        self._advancing = True
        try:
            while self._ready() and self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as exc:
            self._reject(Refusal(exc.error_status_hint, str(exc)))
        finally:
            self._advancing = False

    def _ready(self) -> bool:
        idle = self._response is None and not self._lingering and not self._unread
        return idle and self._transport is not None and not self._transport.is_closing()

    def _take(self, event: object) -> bool:
        """Act on what h11 found; whether there may be more."""
        match event:
            case h11.Request():
                self._begin(event)
            case h11.Data():
                self._gather(event.data)
            case h11.EndOfMessage():
                self._serve()
            case _:  # NEED_DATA, PAUSED or ConnectionClosed
                return False
        return True

    def _begin(self, event: h11.Request) -> None:
        headers = Headers(event.headers)
        head = Head(event.method.decode("latin-1"), event.target.decode("latin-1"), headers)
        size = sum(len(name) + len(value) + 4 for name, value in event.headers) + len(event.target)
        self._head = head
        if size > self._config.head_max_bytes:
            self._reject(Refusal(431, f"a head of more than {self._config.head_max_bytes} bytes"))
            return
        self._refusal = refuse(head, self._config.hosts, self._limits.line_max_bytes)
        unread = self._http.they_are_waiting_for_100_continue
        if self._refusal and (unread or self._refusal.status == 413):
            self._reject(self._refusal)
        elif unread:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))

    def _gather(self, data: bytes | bytearray) -> None:
        if self._refusal:  # to be told when all of it was read, and kept until then for nothing
            return
        if len(self._body) + len(data) > self._limits.line_max_bytes:
            self._reject(Refusal(413, f"a message of more than {self._limits.line_max_bytes} bytes"))
        elif not self._budget.take(len(data)):
            self._reject(Refusal(503, "no memory left for long messages, try again"))
        else:
            self._body += data
            self._held_bytes += len(data)

    def _serve(self) -> None:
        assert self._head is not None  # noqa: S101 - h11 gives a head before it gives an end
        self._cancel_timer()
        self._waiting_bytes = 0
        self._response = Response(self, self._config.keepalive_s)
        if self._refusal:
            self._response.refuse(self._refusal)
        else:
            body, self._body = bytes(self._body), bytearray()
            self._handler.serve(Request(self._head, body), self._response, self)

    # ---- out

    def start(self, status: int, fields: Fields) -> None:
        """See `http_response.Carrier`."""
        if self._ending:
            fields = [*fields, ("Connection", "close")]
        self._send(h11.Response(status_code=status, headers=list(fields), reason=HTTPStatus(status).phrase))

    def carry(self, data: bytes) -> None:
        """See `http_response.Carrier`."""
        if self._transport is None or (self._head and self._head.method == "HEAD"):
            return
        if self._transport.get_write_buffer_size() > self._limits.write_buffer_max_bytes:
            _log.warning("peer dropped principal=%s reason=does-not-read", self.principal.name)
            self._transport.abort()
        self._send(h11.Data(data=data))

    def complete(self) -> None:
        """See `http_response.Carrier`."""
        self._send(h11.EndOfMessage())
        self._response = None
        self._drop_body()
        if self._transport is None:
            return
        if self._lingering:
            self._transport.write_eof()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._ending:
            self._turn()
        else:
            self._transport.close()

    def _turn(self) -> None:
        """Wait for the next request, which may lie here already."""
        self._http.start_next_cycle()
        assert self._transport is not None  # noqa: S101 - asked before
        self._transport.resume_reading()
        self._begun = False
        if self._waiting_bytes:
            self._expect_rest()
        else:
            self._wait(self._config.idle_s)
        if not self._advancing:
            self._loop.call_soon(self._advance)  # not from within whoever sent the answer

    def _send(self, event: h11.Event) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if data := self._http.send(event):
            self._transport.write(data)

    def _reject(self, refusal: Refusal) -> None:
        """Answer a request that was not read to its end, and close as soon as the answer was."""
        self._ending = self._lingering = True
        self._drop_body()
        if self._transport is None:
            return
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            Response(self, _LINGER_S).refuse(refusal)  # `complete` says that nothing follows
            self._wait(_LINGER_S)
        else:
            self._transport.close()

    # ---- bounds

    def _expect_rest(self) -> None:
        self._begun = True
        self._wait(self._config.request_s)

    def _wait(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, self._late)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Say that the rest of a request took too long; let go of who asks nothing, or has been told."""
        if self._begun and not self._lingering:
            self._reject(Refusal(408, f"a request took more than {self._config.request_s} s to arrive"))
        else:
            self.close("idle")

    def _drop_body(self) -> None:
        self._budget.give(self._held_bytes)
        self._held_bytes = 0
        self._body = bytearray()
