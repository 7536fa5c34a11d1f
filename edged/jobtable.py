"""The tasks of `edged.jobs` on disk: SQLite, WAL, synchronous=FULL."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw

from edged.errors import StorageError
from edged.mcp.tasks import Status, Task

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger(__name__)

_DAMAGED: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS task (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL,
    created_s REAL NOT NULL, updated_s REAL NOT NULL, ttl_ms INTEGER NOT NULL, poll_ms INTEGER NOT NULL,
    result BLOB, error BLOB
) STRICT
"""
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


class Record(msgspec.Struct, eq=False):
    """One task; the parts after `poll_ms` live as long as its job runs."""

    id: str
    owner: str
    status: Status
    message: str
    created_s: float
    updated_s: float
    ttl_ms: int
    poll_ms: int
    result: bytes | None = None
    error: bytes | None = None
    on_disk: bool = False
    """Whether the outcome is to be read from the disk."""
    run: asyncio.Task[Any] | None = None
    stopping: bool = False
    asked: dict[str, Any] = msgspec.field(default_factory=dict)
    answers: dict[str, Any] = msgspec.field(default_factory=dict)
    answered: asyncio.Future[Mapping[str, Any]] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in _ENDED

    def expired(self, now_s: float) -> bool:
        """Whether its outcome need not be kept any longer."""
        return self.ended and now_s - self.created_s > self.ttl_ms / 1000

    def task(self) -> Task:
        """The task as its client sees it."""
        return Task(
            task_id=self.id,
            status=self.status,
            status_message=self.message or UNSET,
            created_at=_iso(self.created_s),
            last_updated_at=_iso(self.updated_s),
            ttl_ms=self.ttl_ms,
            poll_interval_ms=self.poll_ms,
            input_requests=dict(self.asked) if self.status == "input_required" else UNSET,
            result=Raw(self.result) if self.result is not None else UNSET,
            error=Raw(self.error) if self.error is not None else UNSET,
        )


class Table:
    """The tasks on disk; for one thread. Raises StorageError where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def load(self) -> list[Record]:
        """Every task in the file, without outcomes; nothing where there is no file yet.

        A damaged file is put aside, and one that cannot be read now is left: nobody has to wait for it to serve.
        """
        if not self._path.exists():
            return []
        columns = "id, owner, status, message, created_s, updated_s, ttl_ms, poll_ms"
        try:
            return [Record(*row) for row in self._do(f"SELECT {columns} FROM task")]  # noqa: S608 - a constant
        except StorageError as exc:
            _log.error("tasks not read path=%s reason=%s", self._path, exc.message)
            if (
                isinstance(exc.__cause__, _sqlite().DatabaseError)
                and exc.__cause__.sqlite_errorcode in _DAMAGED
            ):
                self.close()
                self._put_aside()
            return []

    def insert(self, record: Record) -> None:
        """Add a task."""
        self._do(
            "INSERT INTO task VALUES (?,?,?,?,?,?,?,?,NULL,NULL)",
            record.id,
            record.owner,
            record.status,
            record.message,
            record.created_s,
            record.updated_s,
            record.ttl_ms,
            record.poll_ms,
        )

    def update(self, record: Record) -> None:
        """Write what became of it."""
        self._do(
            "UPDATE task SET status=?, message=?, updated_s=?, ttl_ms=?, result=?, error=? WHERE id=?",
            record.status,
            record.message,
            record.updated_s,
            record.ttl_ms,
            record.result,
            record.error,
            record.id,
        )

    def read(self, task_id: str) -> Record:
        """A task with its outcome."""
        return Record(*self._do("SELECT * FROM task WHERE id=?", task_id)[0])

    def delete(self, task_ids: list[str]) -> None:
        """Forget these."""
        for task_id in task_ids:
            self._do("DELETE FROM task WHERE id=?", task_id)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _do(self, statement: str, *values: object) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection.execute(statement, values).fetchall()
        except _sqlite().Error as exc:
            raise StorageError(f"the store of tasks: {exc}") from exc

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = _sqlite().connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").replace(f"{self._path}.damaged{suffix}")


def _sqlite() -> ModuleType:
    """SQLite, which takes a megabyte: loaded for the first task."""
    import sqlite3  # noqa: PLC0415

    return sqlite3


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
