"""Looks at the board, lets the governor decide, and tells everybody whom it concerns."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

import msgspec

from edged.limits import UNCONSTRAINED, Limits
from edged.power import boards
from edged.power.bands import Rule
from edged.power.boards import Board, Library, Match
from edged.power.calm import calm
from edged.power.config import PowerConfig
from edged.power.endurance import Draw, Endurance
from edged.power.forecast import Outlook
from edged.power.governor import bands
from edged.power.ledger import Ledger
from edged.power.policy import Policy
from edged.power.poweroff import PoweredOff, PowerOff
from edged.power.readings import Reading, Sample, value
from edged.power.sampler import Bell, Sampler
from edged.tasks import Latest

LOG = logging.getLogger(__name__)

CHANGES_KEPT = 64
EVENTS_SHOWN = 8


class Change(NamedTuple):
    """One change of the limits."""

    at_s: float
    """Seconds, monotonic."""
    before: Limits
    after: Limits


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the limits, as it is told."""

    ago_s: float
    before: str
    """The band."""
    after: str
    cause: str
    """What decided; empty where nothing does any more."""
    reason: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What governs the board now."""

    board: str
    matched_by: str
    batteries: list[str]
    """Batteries that were added, by their overlay."""
    band: str
    cause: str
    since_s: float
    """Seconds since the band or its cause last changed."""
    changes: int
    """Of the limits, since the start."""
    undervoltage_events: int | None
    """Since the start; None on a board without a detector."""
    looked_s_ago: float | None
    to_throttle: Outlook
    """When the hottest part of the board reaches its throttling point at the load of the last half minute."""
    to_empty: Outlook
    """When the battery is empty, at the pace of the last half hour."""
    recent: list[Event]
    """The last changes of the limits, newest first."""
    unknown: list[str]
    """Readings that were there once or should be, and are not; with why."""


class Power:
    """One supervised service. For the loop's thread; `close` it when its `run` has ended."""

    def __init__(
        self,
        config: PowerConfig,
        known: Library,
        match: Match,
        sampler: Sampler,
        limits: Latest[Limits],
        *,
        bell: Bell | None = None,
        on_change: Callable[[Change], None] | None = None,
        on_poweroff: Callable[[PoweredOff], None] = lambda _: None,
    ) -> None:
        self._config, self._known, self._match = config, known, match
        self._sampler, self._limits, self._on_change = sampler, limits, on_change
        self._bell = bell or Bell()
        self._ledger = Ledger([o.gauge for o in known.overlays.values() if o.gauge is not None])
        self._policy = Policy(config.dwell_s, _endurance(config, match.board))
        self._poweroff = (
            PowerOff(config.poweroff_command, config.poweroff_at_pct, on_poweroff)
            if config.poweroff
            else None
        )
        self._rules: Sequence[Rule] = ()
        self._governs: frozenset[str] = frozenset()
        self._looked_at_s: float | None = None
        self._since_s = monotonic()
        self._count = 0
        self.sample: Sample = {}
        """What the board read at the last look."""
        self.changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        """The last changes of the limits, newest last."""

    async def run(self) -> None:
        """Look again and again, and at once when the bell rings."""
        while True:
            await self.look()
            await self._bell.wait(self._interval_s())

    async def look(self) -> Limits:
        """Read everything once and decide; returns what may run now."""
        raws = await self._sampler.read(self._config.read_timeout_s)
        now = monotonic()
        self._looked_at_s = now
        self.sample = self._marked(self._ledger.update(raws, now))
        self._find_rules()
        decided = self._policy.decide(self._rules, self.sample, now)
        self._adopt(decided if self._config.govern else UNCONSTRAINED, now)
        if self._poweroff is not None:
            await self._poweroff.look(self.sample, now)
        return self._limits.value

    def status(self) -> Status:
        """What governs now."""
        now, limits = monotonic(), self._limits.value
        events = value(self.sample, "supply.undervoltage-events")
        return Status(
            board=self._match.board.name,
            matched_by=self._match.by,
            batteries=[o.name for o in boards.attached(self._known, self.sample, self._config.overlays)],
            band=limits.band,
            cause=limits.cause,
            since_s=round(now - self._since_s, 1),
            changes=self._count,
            undervoltage_events=None if events is None else int(events),
            looked_s_ago=None if self._looked_at_s is None else round(now - self._looked_at_s, 1),
            to_throttle=self._policy.outlooks.to_throttle(),
            to_empty=self._policy.outlooks.to_empty(),
            recent=self.recent(),
            unknown=[*self._unknown(), *(f"source {name}: hangs" for name in sorted(self._sampler.hung))],
        )

    def bands(self) -> dict[str, str]:
        """The band of each cause that is in one, whichever of them decides."""
        return bands(self._rules, self._policy.state)

    def recent(self) -> list[Event]:
        """The last changes of the limits, newest first."""
        now = monotonic()
        newest = list(reversed(self.changes))[:EVENTS_SHOWN]
        return [
            Event(
                ago_s=round(now - change.at_s, 1),
                before=change.before.band,
                after=change.after.band,
                cause=change.after.cause,
                reason=change.after.reason,
            )
            for change in newest
        ]

    def close(self) -> None:
        """End the thread and let go of the sensors."""
        self._sampler.close()

    # inside

    def _unknown(self) -> list[str]:
        """What the profile wants and nothing answers to, and what is silent."""
        wanted = boards.missing(self._match.board, self.sample) if self.sample else []
        silent = [f"{key}: {r.note}" for key, r in sorted(self.sample.items()) if r.value is None]
        return [*(f"{glob}: not found" for glob in wanted), *silent]

    def _marked(self, sample: dict[str, Reading]) -> Sample:
        """What is missing because its source hangs says so."""
        if not self._sampler.hung:
            return sample
        return {
            key: msgspec.structs.replace(r, note="its source hangs") if r.note == "gone" else r
            for key, r in sample.items()
        }

    def _find_rules(self) -> None:
        """A sensor that appears governs from its first reading on."""
        heat = frozenset(key for key in self.sample if key.startswith(("heat.", "trip.")))
        if not self._rules or heat != self._governs:
            self._governs = heat
            self._rules = boards.rules(self._match.board, self.sample)

    def _interval_s(self) -> float:
        config = self._config
        if calm(self._rules, self._policy.state, self.sample):
            return config.calm_interval_s
        limited = self._limits.value != UNCONSTRAINED
        return config.sample_interval_s if limited else min(config.calm_interval_s, config.near_interval_s)

    def _adopt(self, limits: Limits, now: float) -> None:
        """Hand on what changed, once, with one line in the log.

        The share of the CPU moves at every look while it is shaped: that alone is no change to tell of.
        """
        before = self._limits.value
        self._limits.set(limits)
        if msgspec.structs.replace(limits, duty=before.duty) == before:
            return
        if (limits.band, limits.cause) != (before.band, before.cause):
            self._since_s = now
        self._count += 1
        change = Change(now, before, limits)
        self.changes.append(change)
        LOG.warning(
            "limits changed from=%s to=%s cause=%s reason=%r",
            before.band,
            limits.band,
            limits.cause,
            limits.reason,
        )
        if self._on_change is not None:
            self._on_change(change)


def _endurance(config: PowerConfig, board: Board) -> Endurance | None:
    if config.endurance_h is None:
        return None
    idle, load = board.electric.idle_w, board.electric.load_w
    if idle is None or load is None or load.value <= idle.value:
        return Endurance(config.endurance_h)
    return Endurance(config.endurance_h, Draw(idle.value, load.value))
