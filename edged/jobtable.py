"""The tasks of `edged.jobs` on disk: SQLite, WAL, synchronous=FULL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, Raw

from edged.errors import StorageError
from edged.mcp.tasks import Status, Task

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS task (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL,
    created_s REAL NOT NULL, updated_s REAL NOT NULL, ttl_ms INTEGER NOT NULL, poll_ms INTEGER NOT NULL,
    result BLOB, error BLOB
) STRICT
"""
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


@dataclass(eq=False)
class Record:
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
    asked: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
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

    def open(self) -> list[Record]:
        """Make or open the file; every task in it, without outcomes."""
        with _translated():
            connection = sqlite3.connect(self._path, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_SCHEMA)
            self._connection = connection
            columns = "id, owner, status, message, created_s, updated_s, ttl_ms, poll_ms"
            return [Record(*row) for row in connection.execute(f"SELECT {columns} FROM task")]  # noqa: S608 - a constant

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
        with _translated():
            if self._connection is None:
                raise StorageError("the store of tasks is not open")
            return self._connection.execute(statement, values).fetchall()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StorageError(f"the store of tasks: {exc}") from exc


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
