"""Whether the broker keeps clients to topics of their own: tried at each connect.

A client id in a topic is worth what the broker's ACL makes of it. This device tries to speak on another server's RPC
topic and in its presence, which no ACL that deserves the name allows: the broker answers 0x87, Not authorized. Where
it does not, or does not say, MQTT clients may read and no more.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from typing import Final

from edged.links.mqtt.mcp.topics import Topics
from edged.links.mqtt.values import Publication, Publisher
from edged.mcp.catalog import Principal, Tier

_log = logging.getLogger(__name__)

NOT_AUTHORIZED: Final = 0x87  # MQTT 5, 3.4.2.1


class Proof(enum.StrEnum):
    """What is known of the broker."""

    UNPROVEN = "unproven"
    """No answer, or the broker hung up at the question."""
    OPEN = "open"
    """It let the device speak where it should not."""
    GUARDED = "guarded"
    TRUSTED = "trusted"
    """The owner says that it is guarded, and it was not tried."""


class Guard:
    """`proven` is called when it turns out, after a connect, that the broker guards its topics."""

    def __init__(
        self, topics: Topics, stranger: str, proven: Callable[[], None], *, probe: bool = True
    ) -> None:
        self._topics = topics
        self._stranger = stranger
        self._proven = proven
        self._probe = probe
        self._waiting: set[asyncio.Future[int]] = set()
        self._codes: list[int] = []
        self._hung_up = False
        self.proof = Proof.UNPROVEN if probe else Proof.TRUSTED

    def cap(self, principal: Principal) -> Principal:
        """The principal with the tier it may have on this broker."""
        if self.proof in (Proof.GUARDED, Proof.TRUSTED):
            return principal
        return principal._replace(tier=min(principal.tier, Tier.READ))

    def connected(self, publisher: Publisher) -> None:
        """Try it; not right after a broker hung up at that."""
        if not self._probe:
            return
        self.proof = Proof.UNPROVEN
        if self._hung_up:
            self._hung_up = False
            _log.warning("ACL not tried: the broker hung up the last time; MQTT clients may only read")
            return
        self._codes = []
        for topic in self._topics.foreign(self._stranger, self._stranger):
            self._waiting.add(publisher.publish(Publication(topic=topic)))
        for future in tuple(self._waiting):
            future.add_done_callback(self._answered)

    def disconnected(self) -> None:
        """Whatever was tried is undecided."""
        self._hung_up = bool(self._waiting)
        self._waiting.clear()
        if self._probe:
            self.proof = Proof.UNPROVEN

    def _answered(self, future: asyncio.Future[int]) -> None:
        if future not in self._waiting:
            return
        if future.cancelled() or future.exception():
            return  # it stays among those waited for: `disconnected` follows
        self._waiting.discard(future)
        self._codes.append(future.result())
        if self._waiting:
            return
        if all(code == NOT_AUTHORIZED for code in self._codes):
            self.proof = Proof.GUARDED
            self._proven()
        else:
            self.proof = Proof.OPEN
            _log.warning(
                "the broker lets clients use each other's topics; MQTT clients may only read (docs/mqtt.md)"
            )
