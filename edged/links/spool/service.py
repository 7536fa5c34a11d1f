"""Takes records in, and sends them when somebody is there; what it promises is in `values.Outbox`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edged.errors import Rejected, StorageError
from edged.links.mqtt.values import Publication, Publisher, Subscription, Terms
from edged.links.spool import packing, policy
from edged.links.spool.commits import Commits
from edged.links.spool.config import SpoolConfig
from edged.links.spool.drain import IDLE_S, Drain
from edged.links.spool.sealing import Sealing
from edged.links.spool.state import Acked, Change, Expire, Page, Put, Report
from edged.links.spool.status import OK, SpoolStatus
from edged.links.spool.table import Table
from edged.links.spool.values import Record, Sealer
from edged.tasks import OneThread

_log = logging.getLogger(__name__)

_TROUBLE_S: Final = 10.0
_REPORT_S: Final = 600.0
_ACKNOWLEDGED: Final = {
    "broker": "broker: what it takes and forgets is lost, for no fleet manager acknowledges",
    "end-to-end": "fleet: kept until its manager acknowledges it",
}


class Spool:
    """The durable outbox: one supervised service, and the `Outbox` of all others. For the event loop's thread.

    `put` works before `run` and during it; `thread` does the disk work; `now_s` gives seconds since 1970, however
    wrong; `sealer` encrypts payloads on the disk, None where the device has no keys. The connection's handler calls
    `connected`, `disconnected`, and `received` for what comes on `ack_topic`.
    """

    def __init__(
        self,
        path: Path,
        config: SpoolConfig,
        device: str,
        publisher: Publisher,
        thread: OneThread,
        now_s: Callable[[], float],
        sealer: Sealer | None = None,
    ) -> None:
        self._config, self._thread, self._now_s = config, thread, now_s
        self.ack_topic: Final = f"edged/v1/{device}/dn/ack"
        """Where the fleet manager says what has arrived."""
        self._sealing = Sealing(sealer)
        self._table = Table(path, config.budget_bytes, f"edged/v1/{device}/up/alert", now_s, self._sealing)
        self._commits = Commits(thread, self._apply)
        self._drain = Drain(config, publisher, self._page, self._commit_all)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offset_s = 0.0
        self._expired_s = self._reported_s = -math.inf
        self._heard_s: float | None = None

    def on_trouble(self, call: Callable[[], None]) -> None:
        """Have this called when the disk begins to fail, and when it works again."""
        self._commits.on_trouble = call

    async def put(self, *records: Record) -> None:
        """See `Outbox`."""
        for record in records:
            packing.check(record, self._config.record_max_bytes)
        await self._open()
        await self._commits.commit(Put(records, self._now_s()))
        self._wake.set()

    async def run(self) -> None:
        """Send what is there, again and again, as the pace, the broker and the day's budget allow."""
        while True:
            self._wake.clear()
            try:
                wait_s = await self.turn()
            except StorageError as exc:
                if self._drain.held_by != exc.message:
                    _log.error("spool held reason=%s", exc.message)
                self._drain.held_by, wait_s = exc.message, _TROUBLE_S
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()

    async def turn(self) -> float:
        """Send one window of messages and note what became of them; the seconds until there may be more to do.

        Raises StorageError.
        """
        loop = await self._open()
        self._drain.day = policy.today(self._drain.day, self._now_s(), loop.time())
        await self._keep_house(loop.time())
        await self._report(loop.time())
        return await self._drain.turn(self._table.state.spool, loop.time(), self._clock_s(loop))

    def connected(self, terms: Terms) -> None:
        """A broker is there: what the fleet manager has not acknowledged is due again."""
        _log.debug("spool drains broker=%s", terms.broker)
        if self._loop is not None:
            self._drain.connected_s = self._clock_s(self._loop)
        self._reported_s = -math.inf
        self._wake.set()

    def disconnected(self, reason: str) -> None:
        """The broker is gone; what it had not acknowledged is sent again to the next."""
        _log.debug("spool waits reason=%s", reason)

    def received(self, publication: Publication) -> None:
        """An acknowledgement by the fleet manager; one that is retained, or not understood, is ignored."""
        if publication.topic != self.ack_topic or publication.retain or self._loop is None:
            return
        try:
            ids = packing.acknowledged(publication.payload)
        except Rejected as exc:
            _log.warning("acknowledgement ignored reason=%s", exc.message)
            return
        self._heard_s = self._loop.time()
        self._commits.submit(Acked(tuple(ids), self._drain.handed))

    def subscriptions(self) -> tuple[Subscription, ...]:
        """What the connection subscribes for the spool."""
        return (Subscription(filter=self.ack_topic),) if self._config.ack == "end-to-end" else ()

    def status(self) -> SpoolStatus:
        """What it holds now."""
        state, config, trouble = self._table.state, self._config, self._commits.trouble
        heard_s = self._heard_s if self._loop is not None else None
        return SpoolStatus(
            spool=state.spool,
            records=dict(state.totals),
            budget_bytes=config.budget_bytes,
            acknowledged_by=_ACKNOWLEDGED[config.ack],
            held_by=self._drain.held_by,
            sent=self._drain.sent,
            refused=self._drain.refused.by_name(),
            lost=dict(state.lost),
            spent_bytes=self._drain.day.spent,
            daily_bytes=config.daily_bytes,
            fleet_heard_s_ago=None
            if heard_s is None or self._loop is None
            else round(self._loop.time() - heard_s, 1),
            disk=OK if trouble is None else trouble.message,
            sealed=self._sealing.on,
            keys=self._keys(),
        )

    def _keys(self) -> str:
        if trouble := self._sealing.trouble(sealed_before=self._table.state.sealed):
            return trouble
        closed = self._table.unopened
        return f"{closed} records are damaged, or were sealed with other keys" if closed else OK

    async def close(self) -> None:
        """Write what waits and let go of the file; after `run` has ended."""
        await self._commits.settled()
        await self._thread.run(self._table.close)

    # inside

    async def _open(self) -> asyncio.AbstractEventLoop:
        """Read the file once; from then on the spool's own clock runs."""
        if self._loop is None:
            try:
                await self._thread.run(self._table.open)
            except StorageError as exc:
                self._commits.note(exc)
                raise
            self._commits.note(None)
        if self._loop is None:  # nobody else came first
            self._loop = asyncio.get_running_loop()
            state = self._table.state
            self._offset_s = state.clock_s - self._loop.time()
            self._drain.day = state.day
            self._drain.connected_s = math.nextafter(state.clock_s, math.inf)
        return self._loop

    def _clock_s(self, loop: asyncio.AbstractEventLoop) -> float:
        """Seconds the spool has been in service, over restarts."""
        return loop.time() + self._offset_s

    async def _report(self, loop_s: float) -> None:
        """Tell of gaps on each connect, and while they go on now and then: an alert is not held by the day's bytes."""
        if not self._table.state.gaps or not self._drain.connected or loop_s - self._reported_s < _REPORT_S:
            return
        self._reported_s = loop_s
        await self._commits.commit(Report(self._now_s()))

    async def _keep_house(self, loop_s: float) -> None:
        if loop_s - self._expired_s < IDLE_S:
            return
        self._expired_s = loop_s
        if self._table.state.held.loose:
            await self._commits.commit(Expire(loop_s + self._offset_s - self._config.telemetry_ttl_s))
        while await self._thread.run(self._table.tidy):
            pass

    async def _page(self, sent_before_s: float, few: int, again: int, telemetry: int) -> Page:
        loop = await self._open()
        return await self._thread.run(
            self._table.page, self._clock_s(loop), sent_before_s, few, again, telemetry
        )

    async def _commit_all(self, changes: Sequence[Change]) -> None:
        for pending in [self._commits.submit(change) for change in changes]:
            await pending

    def _apply(self, changes: Sequence[Change]) -> list[StorageError | None]:
        """On the disk's thread."""
        assert self._loop is not None, "opened before anything is committed"  # noqa: S101 - for mypy
        return self._table.apply(changes, self._clock_s(self._loop), self._drain.day)
