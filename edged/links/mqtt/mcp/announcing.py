"""The retained presence: published, repaired, withdrawn; and who serves where several devices have one id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edged.links.mqtt.mcp import presence
from edged.links.mqtt.mcp.identity import Claim, Identity, State, Step
from edged.links.mqtt.values import Publication, Publisher

_log = logging.getLogger(__name__)

WITHDRAW_S: Final = 2.0


class Announcer:
    """Keeps the presence right; `changed` is called when what the device may do has changed."""

    def __init__(
        self,
        identity: Identity,
        make: Callable[[Claim | None], Publication],
        send: Callable[[Publication], None],
        changed: Callable[[], None],
    ) -> None:
        """`make` gives the presence that says a claim, or with None that nobody is there."""
        self._identity = identity
        self._make = make
        self._send = send
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._state = identity.state

    def connected(self) -> None:
        """Subscribed, so claim the id."""
        self._act(self._identity.connected(self._loop.time()))

    def heard(self, publication: Publication) -> None:
        """A presence of this id came."""
        now, other = self._loop.time(), presence.heard(publication.payload)
        if other is None:
            self._act(self._identity.withdrawn(now))
        else:
            self._act(self._identity.heard(other, now, retained=publication.retain))

    def disconnected(self) -> None:
        """There is no connection any more."""
        self._identity.disconnected()
        self._act(Step())
        self._stop_timer()

    async def withdraw(self, publisher: Publisher) -> None:
        """Say that nobody is there, unless another is; what comes on the topic from now on changes nothing."""
        self._stop_timer()
        state = self._identity.state
        self._identity.disconnected()
        if state in (State.SERVING, State.ASKING):
            await asyncio.wait([publisher.publish(self._make(None))], timeout=WITHDRAW_S)

    def _act(self, step: Step) -> None:
        if step.publish:
            self._send(self._make(step.publish))
        if step.tick_in_s is not None:
            self._stop_timer()
            self._timer = self._loop.call_later(step.tick_in_s, self._tick)
        if self._state is not self._identity.state:
            self._state = self._identity.state
            self._report()
            self._changed()

    def _tick(self) -> None:
        self._timer = None
        self._act(self._identity.tick(self._loop.time()))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self) -> None:
        identity = self._identity
        if identity.state is State.YIELDED:
            _log.error("another device serves under this id: boot=%s ours=%s", identity.rival, identity.boot)
        elif identity.state is State.ASKING:
            _log.warning(
                "another device was here under this id: boot=%s; asking whether it lives", identity.rival
            )
