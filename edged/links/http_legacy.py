"""What handshake clients send over HTTP: messages for their session, and visits to what it has for them.

Source: MCP 2025-11-25 basic/transports.mdx, "Streamable HTTP"; batches are of 2025-03-26 alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec
from msgspec import UNSET

from edged.errors import Overloaded
from edged.links import http_events
from edged.links.config import HttpConfig
from edged.links.http_head import Head, Headers, Refusal
from edged.links.http_request import Peer, Request
from edged.links.http_response import Response
from edged.links.http_rules import LAST_EVENT, SESSION, VERSION, Params
from edged.links.http_session import HttpSession, Sessions
from edged.mcp import jsonrpc
from edged.mcp.catalog import Principal
from edged.mcp.jsonrpc import Failure, Id, Malformed, Message
from edged.mcp.server import Server

_PRIMES_FROM: Final = "2025-11-25"  # the first whose clients expect events without a message (SEP-1699)
_NO_SESSION: Final = Failure(
    jsonrpc.INVALID_PARAMS, "neither $._meta names a protocol version nor Mcp-Session-Id a session"
)


class Legacy:
    """The handshake era of the link."""

    def __init__(self, server: Server, config: HttpConfig) -> None:
        self._server = server
        self._config = config
        self._sessions = Sessions(config)

    def close(self) -> None:
        """End every session."""
        self._sessions.close()

    def visit(self, head: Head, response: Response, principal: Principal) -> None:
        """GET listens or goes on listening, DELETE ends the session."""
        session_id = head.headers.get(SESSION)
        if session_id is None:
            response.refuse(Refusal(405, "without a session there is POST alone", ("POST",)))
        elif (session := self._sessions.find(session_id, principal)) is None:
            response.refuse(Refusal(404, "no such session"))
        elif head.method == "DELETE":
            session.close()
            response.send(200)
        else:
            self._listen(session, head.headers, response)

    def post(
        self,
        request: Request,
        response: Response,
        peer: Peer,
        message: Message | None,
        params: Params,
    ) -> None:
        """A single message; None is an answer to a question of ours."""
        session = self._session(request.head.headers, response, peer, message)
        if session is None:
            return
        if message is None:
            session.receive(request.body, None)
            response.send(202)
        elif message.id is UNSET:
            session.receive(request.body, None)
            if message.method == "notifications/cancelled":
                session.streams.cancelled(params.request_id)
            response.send(202)
        else:
            self._ask(session, request, response, [message.id])
            if not session.agreed:
                session.close()

    def post_batch(self, request: Request, response: Response, peer: Peer) -> None:
        """An array of messages, which the conversation takes if its revision has them."""
        try:
            elements = jsonrpc.split_batch(request.body, self._server.limits.depth_max)
        except Malformed as failure:
            response.send(400, jsonrpc.error(failure))
            return
        session = self._session(request.head.headers, response, peer, None)
        if session is None:
            return
        self._ask(session, request, response, self._requests(elements))

    def _session(
        self, headers: Headers, response: Response, peer: Peer, message: Message | None
    ) -> HttpSession | None:
        """The session a POST belongs to, a new one for `initialize`; None when the answer is no."""
        session_id = headers.get(SESSION)
        begins = message is not None and message.method == "initialize" and message.id is not UNSET
        request_id = message.id if message else UNSET
        if session_id is not None:
            session = self._sessions.find(session_id, peer.principal)
            if session is None:
                failure = Failure(jsonrpc.INVALID_REQUEST, "no such session")
                response.send(404, jsonrpc.error(failure, request_id))
            return session
        if not begins:
            response.send(400, jsonrpc.error(_NO_SESSION, request_id))
            return None
        try:
            return self._sessions.begin(self._server, peer.principal, peer.tasks)
        except Overloaded as exc:
            failure = Failure(jsonrpc.BUSY, exc.message, exc.details())
            response.send(503, jsonrpc.error(failure, request_id), [("Retry-After", "1")])
            return None

    def _ask(self, session: HttpSession, request: Request, response: Response, wanted: list[Id]) -> None:
        """Have requests answered on a stream of their own."""
        if (taken := session.streams.taken(wanted)) is not None:
            failure = Failure(jsonrpc.INVALID_REQUEST, "id: in use by a request in flight")
            response.send(400, jsonrpc.error(failure, taken))
            return
        primes = (request.head.headers.get(VERSION) or "") >= _PRIMES_FROM
        stream = session.streams.begin(wanted, primes=primes)
        stream.attach(response)
        session.receive(request.body, stream)
        if stream.ended:
            return
        if not wanted:
            session.streams.forget(stream)
            response.send(202)
        elif self._config.poll_after_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._config.poll_after_s, stream.poll, self._config.retry_ms)

    def _requests(self, elements: list[msgspec.Raw]) -> list[Id]:
        """The requests of a batch; what is malformed in it is answered all the same."""
        found = []
        for element in elements:
            with contextlib.suppress(Malformed):
                message = jsonrpc.parse(bytes(element), self._server.limits.depth_max)
                if isinstance(message, Message) and message.id is not UNSET:
                    found.append(message.id)
        return found

    @staticmethod
    def _listen(session: HttpSession, headers: Headers, response: Response) -> None:
        after = headers.get(LAST_EVENT)
        place = http_events.place_of(after) if after is not None else None
        if after is not None and place is None:
            response.refuse(Refusal(400, "Last-Event-ID: not one this session gave"))
        else:
            session.listen(response, place)
