"""One request of the stateless era: a conversation as long as its POST.

The answer goes out as JSON with its own status; once a notification comes before it, or it is long in
coming, the POST becomes a stream of events. Who hangs up cancels.
"""

from __future__ import annotations

import asyncio
import contextlib

from edged.links import http_events
from edged.links.http_response import Response
from edged.links.http_rules import outgoing
from edged.mcp.catalog import Principal
from edged.mcp.server import Server
from edged.mcp.session import Session


class Exchange:
    """The `Wire` of that conversation."""

    def __init__(
        self, server: Server, principal: Principal, response: Response, tasks: asyncio.TaskGroup
    ) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
        self.session = Session(server, principal, self, tasks)
        response.gone = self.session.close
        response.drained = self.session.catch_up
        response.quiet = response.stream
        response.ending = self.session.end_subscriptions

    def receive(self, body: bytes) -> None:
        """Take in the request."""
        self.session.receive(body)

    def write(self, message: bytes) -> None:
        """See `session.Wire`."""
        if not self._response.open:
            return
        seen = outgoing(message)
        if seen.is_answer and not self._response.streaming:
            self._response.send(seen.status, message)
        else:
            self._response.stream()
            self._response.write(http_events.event(message))
        if seen.is_answer:
            self._response.end()
            self._loop.call_soon(self.session.close)  # not from within what it is sending

    def write_from_thread(self, message: bytes) -> None:
        """See `session.Wire`."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self.write, message)

    @property
    def congested(self) -> bool:
        """See `session.Wire`."""
        return self._response.congested

    def take_descriptor(self) -> int | None:
        """See `session.Wire`: HTTP passes none."""
        return None

    def settled(self) -> None:
        """See `session.Wire`."""
