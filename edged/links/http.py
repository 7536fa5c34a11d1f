"""MCP's Streamable HTTP on a Unix socket, both eras side by side, chosen by each message.

A request of the stateless era is an `Exchange`; one of a handshake client belongs to its `HttpSession`. What
is answered is the dispatcher's; here it is decided who gets a message, and what HTTP itself has to say.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

from msgspec import UNSET

from edged.links.config import HttpConfig
from edged.links.http_connection import HttpConnection
from edged.links.http_exchange import Exchange
from edged.links.http_head import Headers, Refusal
from edged.links.http_legacy import Legacy
from edged.links.http_params import Mirrored, mirrored
from edged.links.http_request import Budget, Peer, Request
from edged.links.http_response import Response
from edged.links.http_rules import VERSION, Params, check, is_modern, params_of
from edged.links.listening import Listener
from edged.mcp import jsonrpc, modern
from edged.mcp.access import Access
from edged.mcp.catalog import Principal, Tool
from edged.mcp.jsonrpc import Failure, Malformed, Message
from edged.mcp.server import Server

_log = logging.getLogger(__name__)


class HttpLink(Listener[HttpConfig, HttpConnection]):
    """Serves MCP over HTTP."""

    def __init__(
        self,
        where: Path | Iterable[socket.socket],
        server: Server,
        access: Access,
        config: HttpConfig | None = None,
    ) -> None:
        super().__init__(where, access, config or HttpConfig())
        self._server = server
        self._budget = Budget(server.limits.receive_buffers_max_bytes)
        self._legacy = Legacy(server, self._config)
        self._mirrored: WeakKeyDictionary[Tool, tuple[Mirrored, ...]] = WeakKeyDictionary()

    def connect(self, sock: socket.socket, principal: Principal, tasks: asyncio.TaskGroup) -> HttpConnection:
        """See `Listener`."""
        connection = HttpConnection(
            principal,
            tasks,
            handler=self,
            config=self._config,
            limits=self._server.limits,
            budget=self._budget,
            gone=self.forget,
        )
        tasks.create_task(connection.take_over(sock), name="http connection")
        return connection

    def turn_away(self, reason: str) -> bytes:
        """See `Listener`."""
        head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
        return f"{head}Content-Type: text/plain\r\nContent-Length: {len(reason)}\r\n\r\n{reason}".encode()

    def stopped(self) -> None:
        """See `Listener`."""
        self._legacy.close()

    def serve(self, request: Request, response: Response, peer: Peer) -> None:
        """See `http_request.Handler`."""
        head = request.head
        if head.method != "POST":
            if head.headers.get(VERSION) in modern.SUPPORTED:
                response.refuse(Refusal(405, f"{modern.REVISION.version} knows POST alone", ("POST",)))
            else:
                self._legacy.visit(head, response, peer.principal)
        elif jsonrpc.is_array(request.body[:64]):
            self._legacy.post_batch(request, response, peer)
        else:
            self._post(request, response, peer)

    def _post(self, request: Request, response: Response, peer: Peer) -> None:
        """Give a single message to the era it is of."""
        headers = request.head.headers
        try:
            message = jsonrpc.parse(request.body, self._server.limits.depth_max)
        except Malformed as failure:
            response.send(400, jsonrpc.error(failure, failure.id))
            return
        asked = message if isinstance(message, Message) else None
        params = params_of(asked.params) if asked else Params()
        if not is_modern(params, headers):
            self._legacy.post(request, response, peer, asked, params)
        elif asked is None:
            response.refuse(Refusal(400, "a response, where nothing was asked"))
        elif asked.id is UNSET:
            self._take_note(headers, response)
        else:
            self._exchange(request, response, peer, asked, params)

    def _exchange(
        self, request: Request, response: Response, peer: Peer, message: Message, params: Params
    ) -> None:
        try:
            check(message, params, request.head.headers, lambda name: self._mirrors(name, peer.principal))
        except Failure as failure:
            response.send(400, jsonrpc.error(failure, message.id))
        else:
            Exchange(self._server, peer.principal, response, peer.tasks).receive(request.body)

    def _take_note(self, headers: Headers, response: Response) -> None:
        """A notification of the stateless era, which over HTTP means nothing: who cancels hangs up."""
        if (version := headers.get(VERSION)) in modern.SUPPORTED:
            response.send(202)
        else:
            data = {"supported": modern.SUPPORTED, "requested": version or ""}
            failure = Failure(modern.UNSUPPORTED_VERSION, "protocol version is not supported", data)
            response.send(400, jsonrpc.error(failure))

    def _mirrors(self, name: str, principal: Principal) -> tuple[Mirrored, ...]:
        """The arguments of a tool that header fields repeat; none where this peer has no such tool."""
        tool = self._server.catalog.tools.get(name)
        if tool is None or tool.tier > principal.tier:
            return ()
        if tool not in self._mirrored:
            self._mirrored[tool] = _wanted(tool)
        return self._mirrored[tool]


def _wanted(tool: Tool) -> tuple[Mirrored, ...]:
    """What a tool wants mirrored; nothing where its wish is one that clients have to refuse."""
    try:
        return mirrored(tool.input_schema)
    except ValueError as exc:
        _log.warning("nothing mirrored tool=%s reason=%s", tool.name, exc)
        return ()
