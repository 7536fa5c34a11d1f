"""Sends what the table holds, one window of messages at a time, and notes what became of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from edged.errors import Overloaded, Refused, Rejected, Unreachable
from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES, Publication, Publisher, Terms
from edged.links.spool import packing, policy
from edged.links.spool.config import SpoolConfig
from edged.links.spool.policy import RULES, Day, Pace
from edged.links.spool.state import Barred, Change, Page, Sent
from edged.links.spool.values import Row
from edged.metrics import Tally

PUBACK_S: Final = 60.0
"""A connection on which nothing is acknowledged for so long is dead; its own keepalive is shorter."""
BARRED_S: Final = 300.0
"""Until what a broker refused is tried again."""
AGAIN_S: Final = 1.0
"""Until the next attempt after one in which nothing arrived."""
IDLE_S: Final = 300.0
"""Until a look without being woken."""
REFUSED: Final = 0x80
"""Reason codes of a PUBACK from here on are refusals (MQTT 5, 2.4)."""
_MARGIN_BYTES: Final = 1024  # of a packet, for its topic and properties

FetchPage = Callable[[float, int, int, int], Awaitable[Page]]
"""Sent before (spool's clock), and how many at most: fresh, again, telemetry."""


class _Message(NamedTuple):
    publication: Publication
    rows: Sequence[Row]


class Drain:
    """What leaves, in which order and when. `turn` is called again and again by one task."""

    def __init__(
        self,
        config: SpoolConfig,
        publisher: Publisher,
        page: FetchPage,
        commit: Callable[[Sequence[Change]], Awaitable[None]],
    ) -> None:
        self._config, self._publisher, self._page, self._commit = config, publisher, page, commit
        self._pace = self._pace_again = Pace(math.inf, 0.0)
        self._telemetry_s = -math.inf
        self._owed: list[Change] = []
        self.handed: frozenset[str] = frozenset()
        """Ids of what is on its way."""
        self.held_by = ""
        """Why nothing leaves although something is there."""
        self.sent = 0
        self.refused = Tally()
        self.day = Day()
        self.connected_s = 0.0
        """The spool's clock when the present connection came."""

    @property
    def connected(self) -> bool:
        """Whether a broker is there."""
        return self._publisher.terms is not None

    async def turn(self, spool: str, loop_s: float, clock_s: float) -> float:
        """Send a window; the seconds until there may be more to do. Raises StorageError.

        What the broker has taken and the disk did not note is noted first: until then nothing leaves.
        """
        if self._owed:
            await self._commit(self._owed)
            self._owed = []
        terms = self._publisher.terms
        if terms is None:
            self.held_by = "no broker"
            return IDLE_S
        slots, again = self._slots(terms, loop_s)
        if not slots:
            return self._pace.wait_s(self._config.rate_hz)
        page = await self._page(
            max(self.connected_s, clock_s - self._config.resend_s), slots, again, self._config.batch_max
        )
        messages, wait_s = self._messages(page, slots, spool, terms, loop_s)
        return await self._send(messages) if messages else wait_s

    def _slots(self, terms: Terms, loop_s: float) -> tuple[int, int]:
        """Messages that may leave now, and how many of them a second time."""
        config = self._config
        window = min(config.in_flight, terms.receive_max)
        self._pace = self._pace.filled(config.rate_hz, window, loop_s)
        self._pace_again = self._pace_again.filled(config.resend_hz, window, loop_s)
        slots = int(self._pace.level)
        if config.ack == "broker":  # what was sent under the other setting goes once more
            return slots, slots
        return slots, min(slots, int(self._pace_again.level))

    def _messages(
        self, page: Page, slots: int, spool: str, terms: Terms, loop_s: float
    ) -> tuple[list[_Message], float]:
        """What leaves now; where nothing does, how long it is held."""
        config = self._config
        few = [*page.fresh, *page.again][:slots]
        messages = [_Message(packing.single(row, spool, config.compress_min_bytes), (row,)) for row in few]
        self._pace_again = self._pace_again.spent(max(0, len(few) - len(page.fresh)))
        wait_s = IDLE_S
        if page.unacknowledged:
            paced_s = self._pace_again.wait_s(config.resend_hz) if self._pace_again.level < 1 else IDLE_S
            wait_s = min(paced_s, config.resend_s)
        self.held_by = ""
        if page.telemetry and len(messages) < slots:
            due_s = self._telemetry_s + config.batch_s - loop_s
            if due_s > 0 and len(page.telemetry) < config.batch_max:
                return messages, min(wait_s, due_s)
            batch = self._batch(page.telemetry, spool, terms)
            if batch is not None:
                self._telemetry_s = loop_s
                return [*messages, batch], 0.0
            self.held_by = "the day's bytes are spent"
            wait_s = min(wait_s, policy.until_tomorrow_s(self.day))
        return messages, wait_s

    def _batch(self, rows: Sequence[Row], spool: str, terms: Terms) -> _Message | None:
        """As much telemetry as one message and the day's budget take."""
        config = self._config
        left = math.inf if config.daily_bytes is None else config.daily_bytes - self.day.spent
        rows = packing.alike(rows, (terms.packet_max_bytes or DEFAULT_LIMIT_BYTES) - _MARGIN_BYTES)
        while rows:
            made = (packing.batch if packing.batchable(rows[0].record) else _alone)(
                rows, spool, config.compress_min_bytes
            )
            if packing.bytes_of(made) <= left:
                return _Message(made, rows)
            rows = rows[: len(rows) // 2]
        return None

    async def _send(self, messages: Sequence[_Message]) -> float:
        self.handed = frozenset(row.record.id for message in messages for row in message.rows)
        try:
            self._pace = self._pace.spent(len(messages))
            outcomes = await self._outcomes(messages)
            self._owed = self._changes(messages, outcomes)
            if self._owed:
                await self._commit(self._owed)
                self._owed = []
        finally:
            self.handed = frozenset()
        waits = [outcome.retry_after_s for outcome in outcomes if isinstance(outcome, Refused)]
        arrived = any(isinstance(outcome, int) for outcome in outcomes)
        return max(waits, default=0.0 if arrived else AGAIN_S)

    async def _outcomes(self, messages: Sequence[_Message]) -> list[int | BaseException]:
        """A reason code each, or why there is none."""
        futures = [self._publisher.publish(message.publication) for message in messages]
        try:
            async with asyncio.timeout(PUBACK_S):
                await asyncio.wait(futures)
        except TimeoutError:
            for future in futures:
                future.cancel()
        return [_outcome(future) for future in futures]

    def _changes(self, messages: Sequence[_Message], outcomes: Iterable[int | BaseException]) -> list[Change]:
        arrived: list[Row] = []
        taken: list[Row] = []
        barred: list[Row] = []
        spent = 0
        for message, outcome in zip(messages, outcomes, strict=True):
            if not isinstance(outcome, Overloaded | Rejected):
                spent += packing.bytes_of(message.publication)
            match outcome:
                case int() if outcome < REFUSED:
                    self.sent += 1
                    waits = self._config.ack == "end-to-end" and RULES[message.rows[0].record.kind].kept
                    (taken if waits else arrived).extend(message.rows)
                case int():
                    self.refused.add(f"0x{outcome:02x}")
                    barred.extend(message.rows)
                case Rejected():
                    self.refused.add("too large")
                    barred.extend(message.rows)
                case _:
                    pass
        self.day = replace(self.day, spent=self.day.spent + spent)
        changes = (Sent(tuple(arrived), True), Sent(tuple(taken), False), Barred(tuple(barred), BARRED_S))
        return [change for change in changes if change.rows]


def _alone(rows: Sequence[Row], spool: str, compress_min: int) -> Publication:
    return packing.single(rows[0], spool, compress_min)


def _outcome(future: asyncio.Future[int]) -> int | BaseException:
    if future.cancelled() or not future.done():
        return Unreachable("not acknowledged in time")
    failed = future.exception()
    if failed is None:
        return future.result()
    if isinstance(failed, Unreachable | Refused | Rejected):
        return failed
    raise failed
