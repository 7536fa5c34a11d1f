"""Keeps people informed: what the management connection publishes, and when.

What is retained (status, the newest sample, the Home Assistant announcement) goes out directly, and again after every
connect. What must not be lost (alerts) or is many (samples) goes through the spool, whether or not there is a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from math import floor
from typing import Final, Protocol

import msgspec

from edged.errors import Overloaded, Rejected, StorageError
from edged.limits import Limits
from edged.links.mqtt.people.batching import Batcher
from edged.links.mqtt.people.config import StateConfig
from edged.links.mqtt.people.homeassistant import ONLINE, Announcement
from edged.links.mqtt.people.house import House
from edged.links.mqtt.people.retained import Publish, Retained, document
from edged.links.mqtt.people.vitals import (
    JSON,
    Alert,
    Identity,
    Look,
    Status,
    Topics,
    encode,
    offline,
    sample_of,
)
from edged.links.mqtt.values import Publication, Subscription, Terms
from edged.links.spool.values import Kind, Outbox, Record
from edged.tasks import Latest

LOG = logging.getLogger(__name__)

ALERTS_WAITING_MAX: Final = 256
"""Alerts kept while the disk refuses them; then the oldest goes."""
GOODBYE_S: Final = 2.0
"""How long the broker has to hear that the device stops."""
JITTER_S: Final = (0.5, 5.0)
"""Within these seconds of Home Assistant's return a device announces itself, so that a house does not at once."""

TWIN_S: Final = 600.0
"""How long another device that was heard counts as being there."""


class Looks(Protocol):
    """Who knows the device."""

    def look(self, *, sampled: bool) -> Look:
        """Everything there is to tell now; `sampled` looks are a telemetry interval apart."""


def _jitter_s() -> float:
    return random.uniform(*JITTER_S)  # noqa: S311 - spreads load, guards nothing


class State:
    """The handler of the management connection, and a service: `run` it, and `close` it when that has ended."""

    def __init__(
        self,
        config: StateConfig,
        identity: Identity,
        looks: Looks,
        limits: Latest[Limits],
        publish: Publish,
        outbox: Outbox,
        *,
        jitter_s: Callable[[], float] = _jitter_s,
    ) -> None:
        self._config, self._identity, self._looks, self._limits = config, identity, looks, limits
        self._outbox, self._jitter_s = outbox, jitter_s
        self._topics = Topics(identity.device)
        self._retained = Retained(publish)
        house = config.home_assistant
        to = Announcement(prefix=house.prefix, name=house.name, identity=identity)
        self._house = House(to, self._retained) if house.enabled and config.now else None
        self._batcher = Batcher(identity, config.batch_s)
        self._alerts: deque[Record] = deque(maxlen=ALERTS_WAITING_MAX)
        self._told: Look | None = None
        self._due_from_s = 0.0
        self._return_s: float | None = None
        self._twin = ""
        self._twin_s: float | None = None
        self._nudged = asyncio.Event()

    # what the connection asks

    @property
    def will(self) -> Publication:
        """What the broker is to say when it loses the device."""
        return document(self._topics.status, encode(offline(self._identity, "lost")))

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What is to be heard: Home Assistant, what it was told before, and what others say of this device."""
        own = Subscription(filter=self._topics.status, no_local=True, optional=True)
        if self._house is None:
            return (own,)
        house = (
            Subscription(filter=self._house.birth, optional=True),
            Subscription(filter=self._house.own, no_local=True, optional=True),
        )
        return own, *house

    def connected(self, terms: Terms) -> None:
        """Say everything that is retained: the broker may be another one."""
        self._retained.connected()
        if self._house:
            self._house.connected(terms)
        if self._told is not None:
            self._retain(self._told)

    def received(self, publication: Publication) -> None:
        """See what others say of this device, and announce it again, soon, where Home Assistant has come back."""
        if publication.retain:  # it was there before we said anything
            if self._house and publication.topic == self._house.own:
                self._house.found(publication.payload)
                if self._told is not None:
                    self._retain(self._told)
            return
        if publication.topic == self._topics.status:
            self._overheard(publication.payload)
            self._nudged.set()
        elif self._house and publication.topic == self._house.birth and publication.payload == ONLINE:
            self._return_s = asyncio.get_running_loop().time() + self._jitter_s()
            self._nudged.set()

    def disconnected(self, reason: str) -> None:
        """Say nothing until the next connect."""
        LOG.debug("management connection is gone: %s", reason)
        self._retained.disconnected()

    # what the daemon asks

    def twin(self) -> str | None:
        """What is known of another device that told its status as this one's, for ten minutes after it did."""
        recent = self._twin_s is not None and asyncio.get_running_loop().time() - self._twin_s < TWIN_S
        return self._twin if recent else None

    def nudge(self) -> None:
        """Something has changed that people see: tell it within a second."""
        self._nudged.set()

    async def run(self) -> None:
        """Tell what changes as it changes, and sample on time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_limits(), name="state-limits")
            while True:
                await self._turn(asyncio.get_running_loop().time())
                await self._rest()

    async def close(self) -> None:
        """Store the samples there are, and take leave of the broker."""
        await self._store(self._batcher.all(), asyncio.get_running_loop().time())
        farewell = document(self._topics.status, encode(offline(self._identity, "stopped")))
        if (said := self._retained.put(farewell)) is not None:
            await asyncio.wait([said], timeout=GOODBYE_S)
        self._retained.disconnected()
        self._told = None

    # inside

    async def _follow_limits(self) -> None:
        while True:
            await self._limits.changed()
            self._nudged.set()

    async def _turn(self, now: float) -> None:
        due = self._told is None or now >= floor(self._due_s())
        look = self._looks.look(sampled=due)
        if due:
            self._due_from_s = now
            if self._config.telemetry:
                self._batcher.add(sample_of(look.now), now)
        self._alerts += [self._record(alert) for alert in look.alerts]
        self._tell(look, now, sampled=due)
        await self._store(self._batcher.due(now), now)

    def _due_s(self) -> float:
        """When the next sample is to be taken."""
        return self._due_from_s + max(self._config.interval_s, self._limits.value.telemetry_interval_s)

    async def _rest(self) -> None:
        """Sleep until the whole second of what is due next; where something changes, until the next whole second."""
        loop = asyncio.get_running_loop()
        soonest_s = floor(loop.time()) + 1
        due_s = self._due_s() if self._return_s is None else min(self._due_s(), self._return_s + 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(floor(due_s), soonest_s)):
                await self._nudged.wait()
                await asyncio.sleep(soonest_s - loop.time())
        self._nudged.clear()

    def _tell(self, look: Look, now: float, *, sampled: bool) -> None:
        before = self._told
        fresh = look.status.differs(before.status if before else None)
        if before is not None and not fresh:
            look = msgspec.structs.replace(look, status=before.status)
        if before is None or sampled or fresh:
            self._told = before = look
        if self._return_s is not None and now >= self._return_s:
            self._return_s = None
            self._retained.forget()
        self._retain(before)

    def _overheard(self, payload: bytes) -> None:
        """A twin is told of; any other word on our status is the will of an earlier connection, late, or a prank."""
        try:
            said = msgspec.json.decode(payload, type=Status)
        except msgspec.DecodeError:
            said = None
        if said is not None and said.state == "online" and said.start_id != self._identity.start_id:
            self._twin = (
                f"another device says that it is {said.device}: {said.board}, boot {said.boot_id[:40]}"
            )
            self._twin_s = asyncio.get_running_loop().time()
        else:
            self._retained.forget(self._topics.status)

    def _retain(self, look: Look) -> None:
        if self._house:
            self._house.withdraw(look)
        self._retained.put(document(self._topics.status, encode(look.status)))
        if self._config.now:
            self._retained.put(document(self._topics.now, encode(look.now), qos=0))
        if self._house:
            self._house.announce(look)

    def _record(self, alert: Alert) -> Record:
        return Record(
            id=alert.id, kind=Kind.ALERT, topic=self._topics.alert, payload=encode(alert), content_type=JSON
        )

    async def _store(self, samples: Sequence[Record], now: float) -> None:
        """Hand over what waits, alerts apart: what the disk refuses is tried again at the next turn."""
        if await self._put(tuple(self._alerts)):
            self._alerts.clear()
        if samples and await self._put(samples):
            self._batcher.stored(now)

    async def _put(self, records: Sequence[Record]) -> bool:
        """Whether they need not be put again."""
        try:
            if records:
                await self._outbox.put(*records)
        except Rejected as exc:
            if len(records) > 1:
                return all([await self._put((record,)) for record in records])
            LOG.error("record lost id=%s: %s", records[0].id, exc.message)  # noqa: TRY400 - it says it all
        except (StorageError, Overloaded) as exc:
            LOG.warning("%d records wait for the disk: %s", len(records), exc.message)
            return False
        return True
