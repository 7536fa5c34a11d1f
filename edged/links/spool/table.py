"""The spool on disk: SQLite, WAL, synchronous=FULL. For one thread; raises StorageError where the disk refuses."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import replace

from edged.errors import StorageError
from edged.files import sync_directory
from edged.links.spool import reading
from edged.links.spool.packing import damage_alert
from edged.links.spool.policy import RULES, Day
from edged.links.spool.sealing import Sealing
from edged.links.spool.state import Change, Page, Put, State
from edged.links.spool.values import Row
from edged.links.spool.work import SCHEMA, SEALED, Work

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DAMAGED: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB: https://sqlite.org/rescode.html
_FULL: Final = 13  # SQLITE_FULL
_NAMES: Final = {
    8: "the disk is read-only",
    10: "the disk fails",
    _FULL: "the disk is full",
    14: "it cannot be opened",
}
_MADE_ROOM_BYTES: Final = 64 * 1024
_RESERVE_BYTES: Final = 1024 * 1024
_PAGES: Final = 256
"""Pages of 4 KiB: the log is folded in at that size, and that many free ones are kept."""
_SETTINGS: Final = f"""
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA secure_delete=OFF;
PRAGMA temp_store=MEMORY;
PRAGMA cache_size=-1024;
PRAGMA cell_size_check=ON;
PRAGMA wal_autocheckpoint={_PAGES};
PRAGMA journal_size_limit={_PAGES * 4096};
"""
_MIGRATIONS: Final = (SCHEMA, SEALED)


class Table:
    """One file, opened when it is first needed, and 1 MiB of disk held in reserve beside it.

    A damaged file is put aside as `<name>.damaged`, what can be read of what must not be lost is carried over, and a
    new one is begun, with an alert that says so. A file of a newer version is left alone and refused.
    """

    def __init__(
        self, path: Path, budget_bytes: int, alert_topic: str, now_s: Callable[[], float], sealing: Sealing
    ) -> None:
        self._now_s = now_s
        self._sealing = sealing
        self._path, self._budget, self._alert_topic = path, budget_bytes, alert_topic
        self._reserve = path.with_name(f"{path.name}.reserve")
        self._connection: sqlite3.Connection | None = None
        self.state = State(spool="")
        """As of the last commit; may be read on any thread."""
        self.unopened = 0
        """Sealed records that are damaged, or not of these keys: kept, and not sent. Likewise."""

    def open(self) -> None:
        """Read, or begin, the file."""
        self._do(lambda _: None)

    def apply(
        self, changes: Sequence[Change], clock_s: float, day: Day | None = None
    ) -> list[StorageError | None]:
        """All of these in one transaction, on the disk when this returns; for each None, or why it was refused.

        Where the disk is full the reserve is given up, and then telemetry for what must not be lost.
        """
        kept = any(isinstance(change, Put) and not _loose(change) for change in changes)
        for free, remedy in ((0, self._give_up_reserve), (0, None), (_MADE_ROOM_BYTES, None)):
            try:
                return self._do(partial(self._commit, changes, clock_s, day, free))
            except StorageError as exc:
                if _code(exc.__cause__) != _FULL or free:
                    raise
                full = exc
            if remedy is not None:
                remedy()
            elif not kept or not self.state.held.loose:
                break
        raise full

    def page(self, clock_s: float, sent_before_s: float, few: int, again: int, telemetry: int) -> Page:
        """What could be sent now, opened, at most so many of each; `again` is what was sent before then."""
        return self._do(partial(self._page, (clock_s, sent_before_s, few, again, telemetry)))

    def tidy(self) -> bool:
        """Give some free pages back to the disk, and see to the reserve; whether there is more to do."""
        more = self._do(_tidy)
        self._take_reserve()
        return more

    def close(self) -> None:
        """Fold the log in and let go of the file."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(_sqlite().Error):  # the log stays, and is read at the next start
                connection.close()

    # inside

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        damage = ""
        for attempt in (1, 2):
            try:
                if damage:
                    self._begin_anew(damage)
                if self._connection is None:
                    self._connection = self._open()
                return action(self._connection)
            except (_sqlite().Error, msgspec.DecodeError) as exc:  # the latter: a state that is not one
                if self._connection is not None and self._connection.in_transaction:
                    with contextlib.suppress(_sqlite().Error):
                        self._connection.execute("ROLLBACK")
                damaged = _code(exc) in _DAMAGED or isinstance(exc, msgspec.DecodeError)
                if attempt == 2 or not damaged:
                    raise StorageError(f"spool {self._path}: {_NAMES.get(_code(exc), exc)}") from exc
                damage = str(exc)
            except OSError as exc:
                raise StorageError(f"spool {self._path}: {exc.strerror}") from exc
        raise AssertionError("unreachable")

    def _open(self) -> sqlite3.Connection:
        new = not self._path.exists()
        connection: sqlite3.Connection = _sqlite().connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(
                "PRAGMA locking_mode=EXCLUSIVE"
            )  # also spares the log a shared index beside it
            version = self._version(connection)
            connection.executescript(_SETTINGS)
            for number, script in enumerate(_MIGRATIONS[version:], version + 1):
                connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;")
            # What an fsync failed for may be in the page cache only: written again here, before anything follows it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if new:
                sync_directory(self._path.parent)
            connection.execute(reading.UNOPENED)
            self.state = _read_state(connection)
            self._take_reserve()
        except BaseException:
            connection.close()
            raise
        return connection

    def _version(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            raise StorageError(f"spool {self._path}: version {version}, made by a newer edged; left as it is")
        return version

    def _page(self, asked: tuple[float, float, int, int, int], connection: sqlite3.Connection) -> Page:
        while True:
            found = reading.page(connection, *asked, sealed=self._sealing.opens)
            page, closed = self._opened(found)
            if not closed:
                self.unopened = connection.execute(reading.COUNT_UNOPENED).fetchone()[0]
                return page
            connection.executemany("INSERT OR IGNORE INTO unopened VALUES (?)", closed)

    def _opened(self, found: Page) -> tuple[Page, list[tuple[int]]]:
        """Without what stays closed, and the numbers of that."""
        closed: list[tuple[int]] = []

        def opened(rows: tuple[Row, ...]) -> tuple[Row, ...]:
            tried = [(row.seq, self._sealing.opened(row)) for row in rows]
            closed.extend((seq,) for seq, row in tried if row is None)
            return tuple(row for _, row in tried if row is not None)

        page = replace(
            found,
            fresh=opened(found.fresh),
            again=opened(found.again),
            telemetry=opened(found.telemetry),
        )
        return page, closed

    def _commit(
        self,
        changes: Sequence[Change],
        clock_s: float,
        day: Day | None,
        free: int,
        connection: sqlite3.Connection,
    ) -> list[StorageError | None]:
        connection.execute("BEGIN IMMEDIATE")
        state = replace(self.state, clock_s=clock_s, day=day or self.state.day)
        work = Work(connection, state, self._budget, self._alert_topic, self._sealing)
        if free:
            work.evict(free)
        outcomes = [self._too_full() if free and _loose(change) else work.do(change) for change in changes]
        _write_state(connection, work.state)
        connection.execute("COMMIT")
        self.state = work.state
        return outcomes

    def _take_reserve(self) -> None:
        """Disk that nobody else can take."""
        if self._reserve.exists():
            return
        with contextlib.suppress(OSError):
            fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE_BYTES)
            except OSError:
                self._reserve.unlink()
                raise
            finally:
                os.close(fd)

    def _give_up_reserve(self) -> None:
        """Let the log be folded in, so that it can be written from its start again."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        if self._connection is not None:
            with contextlib.suppress(_sqlite().Error):
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _too_full(self) -> StorageError:
        return StorageError(f"spool {self._path}: {_NAMES[_FULL]}")

    def _begin_anew(self, reason: str) -> None:
        if self._connection is not None:
            with contextlib.suppress(_sqlite().Error):
                self._connection.close()
            self._connection = None
        saved = reading.salvage(self._path)
        aside = f"{self._path}.damaged"
        for suffix in ("", "-wal", "-shm"):  # the file first: SQLite drops a log without one
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        sync_directory(self._path.parent)
        _log.error(
            "spool damaged path=%s reason=%s put_aside=%s saved=%d", self._path, reason, aside, len(saved)
        )
        sealed = self.state.sealed
        self._connection = self._open()
        self.state = replace(self.state, sealed=sealed)
        at_s = self._now_s()
        alert = damage_alert(self.state.spool, self._alert_topic, reason, Path(aside).name, len(saved), at_s)
        changes = [Put((row.record,), row.put_s, row.sealed) for row in saved]
        self._commit([*changes, Put((alert,), at_s, sealed=False)], 0.0, None, 0, self._connection)


def _tidy(connection: sqlite3.Connection) -> bool:
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > _PAGES:
        connection.execute(f"PRAGMA incremental_vacuum({min(free - _PAGES, _PAGES)})").fetchall()
    return bool(free > 2 * _PAGES)


def _read_state(connection: sqlite3.Connection) -> State:
    found = connection.execute("SELECT json FROM state").fetchone()
    return msgspec.json.decode(found[0], type=State) if found else State(spool=secrets.token_hex(4))


def _write_state(connection: sqlite3.Connection, state: State) -> None:
    kept = replace(state, day=replace(state.day, monotonic_s=None))
    connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (msgspec.json.encode(kept),))


def _loose(change: Change) -> bool:
    """Whether it puts something that may be lost."""
    return isinstance(change, Put) and not all(RULES[r.kind].kept for r in change.records)


def _code(exc: BaseException | None) -> int:
    """SQLite's primary result code; 0 for anything else."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def _sqlite() -> ModuleType:
    """SQLite, which takes a megabyte: loaded with the first record."""
    import sqlite3  # noqa: PLC0415

    return sqlite3
