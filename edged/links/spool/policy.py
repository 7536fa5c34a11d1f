"""What is sent first, what may go when there is no room, and how much may be sent in a day. Pure.

What must not be lost is never evicted: where it does not fit, its producer is told so before it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from edged.links.spool.values import Gap, Kind, Record, Row

# How SQLite lays out rows: https://sqlite.org/fileformat2.html, 1.6
_PAGE_BYTES: Final = 4096
_LEAF_BYTES: Final = 4061  # longest row that is not spread over pages
_LOCAL_MIN_BYTES: Final = 489  # of one that is, at least, in the leaf
_CHAINED_BYTES: Final = 4092  # of it, in each further page
_ROW_BYTES: Final = 56  # numbers, times and headers of a row
_INDEX_BYTES: Final = 24  # likewise of its index entries
SLACK: Final = 64
"""One part in this many of the budget is freed at once, so that not every record evicts."""
DAY_S: Final = 86_400.0
JUMP_S: Final = 60.0
"""Wall and monotonic time that differ by more in one step: the clock was set."""


class Rule(NamedTuple):
    """What holds for records of a kind."""

    priority: int
    """The lowest is sent first."""
    kept: bool
    """Whether it must not be lost: never evicted or expired, exempt from the daily cap."""
    room: float
    """Share of the budget up to which all that must not be lost may grow by one of this kind."""


RULES: Final[Mapping[Kind, Rule]] = {
    Kind.ALERT: Rule(priority=0, kept=True, room=0.8),
    Kind.CONFIG: Rule(priority=1, kept=True, room=0.9),
    Kind.AUDIT: Rule(priority=2, kept=True, room=1.0),
    Kind.TELEMETRY: Rule(priority=3, kept=False, room=1.0),
}


class Held(NamedTuple):
    """Bytes on the disk."""

    kept: int = 0
    """Of what must not be lost."""
    loose: int = 0
    """Of telemetry."""


def size(record: Record) -> int:
    """Bytes of disk a record counts for: its share of the pages it is on, within a tenth."""
    texts = len(record.id) + len(record.topic) + len(record.content_type)
    row = _ROW_BYTES + texts + len(record.payload)
    local = row
    if row > _LEAF_BYTES:
        local = _LOCAL_MIN_BYTES + (row - _LOCAL_MIN_BYTES) % _CHAINED_BYTES
        local = local if local <= _LEAF_BYTES else _LOCAL_MIN_BYTES
    chained = -(-(row - local) // _CHAINED_BYTES)
    return _PAGE_BYTES * chained + _PAGE_BYTES // (_LEAF_BYTES // local) + len(record.id) + _INDEX_BYTES


def to_free(records: Iterable[Record], held: Held, budget: int) -> int | None:
    """Bytes of telemetry that have to go before these fit, usually 0; None where they cannot fit."""
    records = tuple(records)
    kept = held.kept + sum(size(r) for r in records if RULES[r.kind].kept)
    room = min((RULES[r.kind].room for r in records if RULES[r.kind].kept), default=1.0)
    loose = sum(size(r) for r in records if not RULES[r.kind].kept)
    if kept + loose > budget or (kept > held.kept and kept > room * budget):
        return None
    over = kept + loose + held.loose - budget
    return min(held.loose, max(over, budget // SLACK)) if over > 0 else 0


def victims(oldest: Iterable[Row], free: int, reason: str) -> Gap | None:
    """The first of these, telemetry by age, that give back `free` bytes; all of them where they do not suffice."""
    gap: Gap | None = None
    for row in oldest:
        if gap is not None and gap.size >= free:
            break
        one = Gap(
            reason=reason,
            first_seq=row.seq,
            last_seq=row.seq,
            first_s=row.put_s,
            last_s=row.put_s,
            count=1,
            size=row.size,
        )
        gap = one if gap is None else joined(gap, one)
    return gap


def joined(one: Gap, other: Gap) -> Gap:
    """Both as one range, the later one's end last."""
    return Gap(
        reason=one.reason,
        first_seq=min(one.first_seq, other.first_seq),
        last_seq=max(one.last_seq, other.last_seq),
        first_s=one.first_s if one.first_seq <= other.first_seq else other.first_s,
        last_s=other.last_s if other.last_seq >= one.last_seq else one.last_s,
        count=one.count + other.count,
        size=one.size + other.size,
    )


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent in the present day."""

    number: int = 0
    """Days since 1970, UTC, by the wall clock."""
    spent: int = 0
    """Bytes."""
    wall_s: float = 0.0
    """The wall clock when last looked at."""
    monotonic_s: float | None = None
    """Likewise; None across a restart."""
    left_s: float = DAY_S
    """Seconds of running after which a new day begins whatever the wall clock says."""


def today(day: Day, now: float, monotonic_s: float) -> Day:
    """The same moment a little later: what was spent is forgotten at midnight, or after a day's running.

    A clock that is set grants nothing and takes nothing: its midnight counts only when it comes by itself. Across a
    restart, when nobody can tell, a later date is believed and an earlier one is not.
    """
    number = int(now // DAY_S)
    ran_s = 0.0 if day.monotonic_s is None else max(0.0, monotonic_s - day.monotonic_s)
    jumped = abs((now - day.wall_s) - ran_s) > JUMP_S if day.monotonic_s is not None else number < day.number
    left_s = day.left_s - ran_s
    if (number > day.number and not jumped) or left_s <= 0:
        return Day(number=number, wall_s=now, monotonic_s=monotonic_s)
    return Day(number=number, spent=day.spent, wall_s=now, monotonic_s=monotonic_s, left_s=left_s)


def until_tomorrow_s(day: Day) -> float:
    """Seconds until `today` forgets what was spent, if nobody sets the clock."""
    return max(1.0, min((day.number + 1) * DAY_S - day.wall_s, day.left_s))


class Pace(NamedTuple):
    """A token bucket: `level` messages may leave at once at `at_s`."""

    level: float
    at_s: float

    def filled(self, rate_hz: float, burst: float, now_s: float) -> Pace:
        """The same later."""
        return Pace(min(burst, self.level + max(0.0, now_s - self.at_s) * rate_hz), now_s)

    def spent(self, messages: int) -> Pace:
        """After so many left."""
        return self._replace(level=self.level - messages)

    def wait_s(self, rate_hz: float) -> float:
        """Seconds until one may leave; at least a millisecond, so that it has when they are over."""
        return max(0.001, (1.0 - self.level) / rate_hz)
