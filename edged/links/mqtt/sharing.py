"""One connection used by several: the management connection carries state, spool and fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from edged.errors import Unreachable
from edged.links.mqtt.values import Handler, Publication, Publisher, Terms


class Sender:
    """A Publisher that may be handed out before its connection is made, for that needs to know who listens."""

    def __init__(self) -> None:
        self._by: Publisher | None = None

    def send_by(self, publisher: Publisher) -> None:
        """From now on, by this one."""
        self._by = publisher

    @property
    def terms(self) -> Terms | None:
        """See Publisher."""
        return self._by.terms if self._by else None

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """See Publisher."""
        if self._by is None:
            unmade: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            unmade.set_exception(Unreachable("no connection to a broker: it is not made yet"))
            return unmade
        return self._by.publish(publication)

    def publish_from_thread(self, publication: Publication) -> None:
        """See Publisher."""
        if self._by is not None:
            self._by.publish_from_thread(publication)


class Shared:
    """A Handler that tells others, in order; a fault of one keeps nothing from the next, and is raised in the end.

    Everybody hears every message, whoever subscribed to it.
    """

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = handlers

    def connected(self, terms: Terms) -> None:
        """See Handler."""
        self._each(lambda handler: handler.connected(terms))

    def received(self, publication: Publication) -> None:
        """See Handler."""
        self._each(lambda handler: handler.received(publication))

    def disconnected(self, reason: str) -> None:
        """See Handler."""
        self._each(lambda handler: handler.disconnected(reason))

    def _each(self, tell: Callable[[Handler], None]) -> None:
        with ExitStack() as stack:  # which runs all of its callbacks, the last one first
            for handler in reversed(self._handlers):
                stack.callback(tell, handler)
