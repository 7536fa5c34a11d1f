"""Inside one transaction: the records, and the state that goes with them. For `table` alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from edged.errors import StorageError
from edged.links.spool import policy
from edged.links.spool.packing import gap_alert
from edged.links.spool.policy import RULES
from edged.links.spool.sealing import Sealing
from edged.links.spool.state import Acked, Barred, Change, Expire, Put, Report, Sent, State
from edged.links.spool.values import Gap, Kind, Record, Row

if TYPE_CHECKING:
    import sqlite3

SCHEMA: Final = """
CREATE TABLE record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, priority INTEGER NOT NULL,
    topic TEXT NOT NULL, content_type TEXT NOT NULL, retain INTEGER NOT NULL,
    size INTEGER NOT NULL, put_s REAL NOT NULL, clock_s REAL NOT NULL,
    sent_s REAL, barred_s REAL NOT NULL DEFAULT 0, payload BLOB NOT NULL
) STRICT;
CREATE INDEX fresh ON record (priority, seq) WHERE sent_s IS NULL;
CREATE INDEX again ON record (priority, seq) WHERE sent_s IS NOT NULL;
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), json BLOB NOT NULL) STRICT;
"""
SEALED: Final = "ALTER TABLE record ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;"
COLUMNS_1: Final = "seq, put_s, size, id, kind, topic, payload, content_type, retain"
COLUMNS: Final = f"{COLUMNS_1}, sealed"
TELEMETRY: Final = RULES[Kind.TELEMETRY].priority
_INSERT: Final = """
INSERT INTO record (id, kind, priority, topic, content_type, retain, size, put_s, clock_s, payload, sealed)
VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING
"""
_SENT: Final = f"SELECT {COLUMNS} FROM record WHERE id=? AND priority<? AND (sent_s IS NOT NULL OR ?)"  # noqa: S608 - constants
_OLDEST: Final = (
    "SELECT seq, put_s, size, clock_s FROM record WHERE sent_s IS NULL AND priority=? ORDER BY seq"
)
_NOBODY: Final = Record(id="", kind=Kind.TELEMETRY, topic="", payload=b"")


class Work:
    """Changes of one transaction; `state` is what to write with them."""

    def __init__(
        self, connection: sqlite3.Connection, state: State, budget: int, alert_topic: str, sealing: Sealing
    ) -> None:
        self._connection, self._budget, self._alert_topic = connection, budget, alert_topic
        self._sealing = sealing
        self.state = state

    def do(self, change: Change) -> StorageError | None:
        """Carry it out, or say why a `Put` cannot be."""
        match change:
            case Put():
                return self._put(change)
            case Sent(rows, arrived=True):
                self._delete(rows)
            case Sent(rows):
                self._mark("sent_s", self.state.clock_s, rows)
            case Barred(rows, for_s):
                self._mark("barred_s", self.state.clock_s + for_s, rows)
            case Acked(ids, handed):
                self._acknowledge(ids, handed)
            case Expire(older_than_s):
                self._lose(policy.victims(self._oldest(older_than_s), 1 << 62, "expired"))
            case Report(at_s):
                self._report(at_s)
        return None

    def evict(self, free: int) -> None:
        """Let the oldest telemetry go."""
        self._lose(policy.victims(self._oldest(), free, "evicted"))

    def _put(self, change: Put) -> StorageError | None:
        new = [r for r in change.records if not self._has(r.id)]
        try:
            stored = [self._stored(record, change) for record in new]
        except StorageError as exc:
            return exc
        free = policy.to_free([record for record, _ in stored], self.state.held, self._budget)
        if free is None:
            return StorageError(
                f"the spool's {self._budget} bytes are taken by what must not be lost and has not arrived"
            )
        if free:
            self.evict(free)
        for record, sealed in stored:
            self._insert(record, change.put_s, sealed=sealed)
        return None

    def _stored(self, record: Record, put: Put) -> tuple[Record, bool]:
        if put.sealed is not None:
            return record, put.sealed
        return self._sealing.stored(record, sealed_before=self.state.sealed)

    def _delete(self, rows: Iterable[Row]) -> None:
        for row in rows:
            where = (row.seq, row.record.id)  # both: a spool begun anew counts from the start
            if self._connection.execute("DELETE FROM record WHERE seq=? AND id=?", where).rowcount:
                self.state = self.state.counted(row.record.kind, -1, -row.size)

    def _mark(self, column: str, value: float, rows: Iterable[Row]) -> None:
        statement = f"UPDATE record SET {column}=? WHERE seq=? AND id=?"  # noqa: S608 - one of our own names
        self._connection.executemany(statement, [(value, row.seq, row.record.id) for row in rows])

    def _acknowledge(self, ids: Iterable[str], handed: frozenset[str]) -> None:
        for name in ids:
            found = self._connection.execute(_SENT, (name, TELEMETRY, name in handed)).fetchall()
            self._delete(map(row_of, found))

    def _report(self, at_s: float) -> None:
        """In the open: it has to be told while keys do not open, too, and says nothing of what is sealed."""
        for gap in self.state.gaps.values():
            self._insert(gap_alert(gap, self.state.spool, self._alert_topic, at_s), at_s, sealed=False)
        self.state = replace(self.state, gaps={})

    def _has(self, name: str) -> bool:
        return self._connection.execute("SELECT 1 FROM record WHERE id=?", (name,)).fetchone() is not None

    def _insert(self, record: Record, put_s: float, *, sealed: bool) -> None:
        size = policy.size(record)
        values = (
            record.id,
            record.kind.value,
            RULES[record.kind].priority,
            record.topic,
            record.content_type,
            int(record.retain),
            size,
            put_s,
            self.state.clock_s,
            record.payload,
            int(sealed),
        )
        if self._connection.execute(_INSERT, values).rowcount:
            self.state = self.state.counted(record.kind, 1, size)
            self.state = replace(self.state, sealed=self.state.sealed or sealed)

    def _oldest(self, older_than_s: float = math.inf) -> Iterable[Row]:
        for seq, put_s, size, clock_s in self._connection.execute(_OLDEST, (TELEMETRY,)):
            if clock_s >= older_than_s:
                return
            yield Row(seq=seq, put_s=put_s, size=size, record=_NOBODY)

    def _lose(self, gap: Gap | None) -> None:
        if gap is not None:
            self._connection.execute(
                "DELETE FROM record WHERE sent_s IS NULL AND priority=? AND seq<=?", (TELEMETRY, gap.last_seq)
            )
            self.state = self.state.without(gap)


def row_of(found: Sequence[Any]) -> Row:
    """A result in the order of COLUMNS."""
    seq, put_s, size, name, kind, topic, payload, content_type, retain, sealed = found
    record = Record(
        id=name, kind=Kind(kind), topic=topic, payload=payload, content_type=content_type, retain=bool(retain)
    )
    return Row(seq=seq, put_s=put_s, size=size, record=record, sealed=bool(sealed))
