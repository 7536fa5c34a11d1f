"""One connection used by several: the management connection carries state, spool and fleet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from edged.links.mqtt.values import Handler, Publication, Terms


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
