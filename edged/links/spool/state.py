"""What a spool knows of itself beside its records, kept in the same transactions; and what may be done to it. Pure."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from edged.links.spool.policy import RULES, Day, Held, joined
from edged.links.spool.status import Total
from edged.links.spool.values import Gap, Kind, Record, Row


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One row beside the records."""

    spool: str
    """Names this file among all that the device ever had: sequence numbers begin anew with it."""
    clock_s: float = 0.0
    """Seconds this spool has been in service; no wall clock has a part in it."""
    day: Day = Day()
    totals: dict[Kind, Total] = {}
    gaps: dict[str, Gap] = {}
    """What was lost and has not been reported, by reason."""
    lost: dict[str, int] = {}
    """Telemetry lost in all, by reason."""
    sealed: bool = False
    """Whether anything was ever sealed: from then on nothing is stored in the open."""

    @property
    def held(self) -> Held:
        """Bytes, as the policy wants them."""
        kept = sum(t.size for kind, t in self.totals.items() if RULES[kind].kept)
        return Held(kept, sum(t.size for t in self.totals.values()) - kept)

    def counted(self, kind: Kind, count: int, size: int) -> State:
        """With so many records and bytes of a kind more, or less."""
        had = self.totals.get(kind, Total())
        return replace(self, totals={**self.totals, kind: Total(had.count + count, had.size + size)})

    def without(self, gap: Gap) -> State:
        """Without the telemetry of a gap, which is to be reported."""
        known = self.gaps.get(gap.reason)
        state = replace(
            self,
            gaps={**self.gaps, gap.reason: gap if known is None else joined(known, gap)},
            lost={**self.lost, gap.reason: self.lost.get(gap.reason, 0) + gap.count},
        )
        return state.counted(Kind.TELEMETRY, -gap.count, -gap.size)


class Put(msgspec.Struct, frozen=True):
    """Keep these, all or none."""

    records: tuple[Record, ...]
    put_s: float
    sealed: bool | None = None
    """None: to be sealed where the device has keys. Else they are stored as they are, and this says how that is."""


class Sent(msgspec.Struct, frozen=True):
    """The broker has these: delete them, or where the fleet manager has to say so, remember that they were sent."""

    rows: tuple[Row, ...]
    arrived: bool


class Barred(msgspec.Struct, frozen=True):
    """The broker refused these: not again for some seconds."""

    rows: tuple[Row, ...]
    for_s: float


class Acked(msgspec.Struct, frozen=True):
    """The fleet manager has these; believed of what was sent, or is on its way (`handed`)."""

    ids: tuple[str, ...]
    handed: frozenset[str]


class Report(msgspec.Struct, frozen=True):
    """Make an alert of every gap that has not been reported."""

    at_s: float
    """Now, in seconds since 1970."""


class Expire(msgspec.Struct, frozen=True):
    """Telemetry older than this, by the spool's own clock, is not worth sending any more."""

    older_than_s: float


Change = Put | Sent | Barred | Acked | Report | Expire


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What could be sent next, each in order."""

    fresh: tuple[Row, ...] = ()
    """What must not be lost and no broker has taken."""
    again: tuple[Row, ...] = ()
    """What a broker took a while ago and the fleet manager has not acknowledged."""
    telemetry: tuple[Row, ...] = ()
    unacknowledged: bool = False
    """Whether anything waits for the fleet manager's word, due again or not."""
