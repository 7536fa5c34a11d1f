"""What a spool's file holds: what is to be sent, and what can be saved of a damaged one. For `table` alone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edged.links.spool.state import Page
from edged.links.spool.values import Row
from edged.links.spool.work import COLUMNS, COLUMNS_1, TELEMETRY, row_of

if TYPE_CHECKING:
    import sqlite3

UNOPENED: Final = "CREATE TEMP TABLE unopened (seq INTEGER PRIMARY KEY)"
"""What did not open: in memory, so that it is tried again at the next start, perhaps with the right keys."""
COUNT_UNOPENED: Final = "SELECT count(*) FROM unopened JOIN record USING (seq)"
_ANY_SENT: Final = "SELECT EXISTS (SELECT 1 FROM record WHERE sent_s IS NOT NULL)"


def page(
    connection: sqlite3.Connection,
    clock_s: float,
    sent_before_s: float,
    few: int,
    again: int,
    telemetry: int,
    *,
    sealed: bool,
) -> Page:
    """What could be sent next, see `Table.page`; `sealed`: with those that are."""
    which = "seq NOT IN (SELECT seq FROM unopened)" if sealed else "sealed=0"

    def rows(where: str, *values: float) -> tuple[Row, ...]:
        chosen = f"barred_s<=? AND {which} AND {where}"
        statement = f"SELECT {COLUMNS} FROM record WHERE {chosen} ORDER BY priority, seq LIMIT ?"  # noqa: S608 - constants
        return tuple(map(row_of, connection.execute(statement, (clock_s, *values)))) if values[-1] else ()

    return Page(
        fresh=rows("sent_s IS NULL AND priority<?", TELEMETRY, few),
        again=rows("sent_s IS NOT NULL AND sent_s<?", sent_before_s, again),
        telemetry=rows("sent_s IS NULL AND priority=?", TELEMETRY, telemetry),
        unacknowledged=bool(connection.execute(_ANY_SENT).fetchone()[0]),
    )


def salvage(path: Path) -> list[Row]:
    """What can still be read of what must not be lost, in order."""
    import sqlite3  # noqa: PLC0415 - it takes a megabyte, and comes with the first record

    saved: list[Row] = []
    with (
        contextlib.suppress(sqlite3.Error, ValueError),
        contextlib.closing(sqlite3.connect(path)) as damaged,
    ):
        known = {column[1] for column in damaged.execute("PRAGMA table_info(record)")}
        columns = COLUMNS if "sealed" in known else f"{COLUMNS_1}, 0"
        for found in damaged.execute(f"SELECT {columns} FROM record NOT INDEXED WHERE priority<{TELEMETRY}"):  # noqa: S608 - constants
            saved.append(row_of(found))  # noqa: PERF401 - what came before an error counts
    return saved
