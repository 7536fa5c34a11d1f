"""Handshake clients over HTTP: sessions that outlive connections, found by an id that cannot be guessed.

Source: MCP 2025-11-25 basic/transports.mdx, "Session Management".
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable

from msgspec import UNSET

from edged.errors import Overloaded
from edged.links.config import HttpConfig
from edged.links.http_events import Place
from edged.links.http_response import Response
from edged.links.http_rules import outgoing
from edged.links.http_streams import Stream, Streams
from edged.mcp.catalog import Principal
from edged.mcp.jsonrpc import Id
from edged.mcp.server import Server
from edged.mcp.session import Session

_RETRY_AFTER_S = 1.0


class Routed(Session):
    """A session whose messages go out on more than one stream."""

    def __init__(
        self, server: Server, principal: Principal, wire: HttpSession, tasks: asyncio.TaskGroup
    ) -> None:
        super().__init__(server, principal, wire, tasks)
        self._streams = wire.streams

    def send_about(self, request_id: Id | None, message: bytes) -> None:
        """See `request.Outlet`."""
        self._streams.send_about(request_id, message)


class HttpSession:
    """One client's session, the `Wire` of its conversation."""

    def __init__(
        self,
        server: Server,
        principal: Principal,
        config: HttpConfig,
        tasks: asyncio.TaskGroup,
        ended: Callable[[HttpSession], None],
    ) -> None:
        self.id = secrets.token_urlsafe(24)
        self.principal = principal
        self.streams = Streams(config.replay_max_bytes)
        self.agreed = False
        self.used_s = 0.0
        self._idle_s = config.session_idle_s
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._session = Routed(server, principal, self, tasks)
        self._timer = self._loop.call_later(self._idle_s, self._expire)
        self.touch()

    @property
    def busy(self) -> bool:
        """Whether a call runs or somebody listens."""
        return self._session.busy or self.streams.attached

    def touch(self) -> None:
        """Somebody uses it."""
        self.used_s = self._loop.time()

    def receive(self, body: bytes, stream: Stream | None) -> None:
        """Take in a message that is answered on `stream`."""
        self.touch()
        with self.streams.taking(stream):
            self._session.receive(body)

    def listen(self, response: Response, place: Place | None) -> None:
        """Go on with the stream of that place, or begin to send what nobody asked for."""
        self.touch()
        if place is None:
            self.streams.listen(response)
            self._session.catch_up()
        else:
            self.streams.resume(place, response)
        response.drained = self._session.catch_up

    def close(self) -> None:
        """End it: cancel what runs, close what is open, be unknown."""
        self._timer.cancel()
        self._session.close()
        self.streams.close()
        self._ended(self)

    def write(self, message: bytes) -> None:
        """See `session.Wire`; the first message says whether the handshake succeeded."""
        if not self.agreed and outgoing(message).error is UNSET:
            self.agreed = True
            self.streams.introduce((("Mcp-Session-Id", self.id),))
        self.streams.send(message)

    def write_from_thread(self, message: bytes) -> None:
        """See `session.Wire`."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self.write, message)

    @property
    def congested(self) -> bool:
        """See `session.Wire`."""
        return self.streams.congested

    def take_descriptor(self) -> int | None:
        """See `session.Wire`: HTTP passes none."""
        return None

    def settled(self) -> None:
        """See `session.Wire`."""
        self.touch()

    def _expire(self) -> None:
        """End it unless it was used in the meantime."""
        if self.busy:
            self.touch()
        left = self.used_s + self._idle_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self.close()


class Sessions:
    """The sessions of all principals, within their bounds."""

    def __init__(self, config: HttpConfig) -> None:
        self._config = config
        self._sessions: dict[str, HttpSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, server: Server, principal: Principal, tasks: asyncio.TaskGroup) -> HttpSession:
        """A new session; raises Overloaded where there are too many and none is idle."""
        own = [session for session in self._sessions.values() if session.principal.name == principal.name]
        if len(own) >= self._config.sessions_per_principal or len(self) >= self._config.sessions_max:
            _longest_idle(own).close()
        session = HttpSession(server, principal, self._config, tasks, self._forget)
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str, principal: Principal) -> HttpSession | None:
        """The session of that id, where it is this principal's."""
        session = self._sessions.get(session_id)
        if session is None or session.principal.name != principal.name:
            return None
        session.touch()
        return session

    def close(self) -> None:
        """End all of them."""
        for session in tuple(self._sessions.values()):
            session.close()

    def _forget(self, session: HttpSession) -> None:
        self._sessions.pop(session.id, None)


def _longest_idle(sessions: Iterable[HttpSession]) -> HttpSession:
    idle = [session for session in sessions if not session.busy]
    if not idle:
        raise Overloaded("too many sessions, and none is idle", _RETRY_AFTER_S)
    return min(idle, key=lambda session: session.used_s)
