"""Sealed payloads brought into the present epoch, so that an older one may be retired. The daemon must not run."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final, Protocol

from edged.errors import KeysCorrupt, StorageError
from edged.links.spool.sealing import place
from edged.links.spool.values import Row
from edged.links.spool.work import COLUMNS, row_of

_ROWS: Final = 200
_SEALED_SINCE: Final = 2  # version of the file
_SELECT: Final = f"SELECT {COLUMNS} FROM record WHERE sealed AND seq>? ORDER BY seq LIMIT {_ROWS}"  # noqa: S608 - constants


class Resealer(Protocol):
    """The keys, as seen by who renews what they sealed."""

    def seal(self, place: str, plain: bytes) -> bytes:
        """As `Sealer.seal`."""

    def open(self, place: str, data: bytes) -> bytes:
        """As `Sealer.open`."""

    def stale(self, data: bytes) -> bool:
        """Whether this is of an older epoch."""


def reseal(path: Path, sealer: Resealer) -> int:
    """Encrypt again what is of an older epoch; how many records. What does not open is left as it is.

    A power cut leaves some of them done. Raises StorageError.
    """
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] < _SEALED_SINCE:
                return 0
            connection.execute("PRAGMA synchronous=FULL")
            return _reseal(connection, sealer)
    except sqlite3.Error as exc:
        raise StorageError(f"spool {path}: {exc}") from exc


def _reseal(connection: sqlite3.Connection, sealer: Resealer) -> int:
    done = after = 0
    while rows := [row_of(found) for found in connection.execute(_SELECT, (after,))]:
        after = rows[-1].seq
        renewed = [made for row in rows if (made := _renewed(row, sealer))]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE record SET payload=? WHERE seq=?", renewed)
        connection.execute("COMMIT")
        done += len(renewed)
    return done


def _renewed(row: Row, sealer: Resealer) -> tuple[bytes, int] | None:
    record = row.record
    try:
        if not sealer.stale(record.payload):
            return None
        return sealer.seal(place(record), sealer.open(place(record), record.payload)), row.seq
    except KeysCorrupt:
        return None
