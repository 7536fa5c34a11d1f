"""Jobs that outlive the request that began them, kept so that a restart does not lose what became of them.

A task is in SQLite (WAL, synchronous=FULL) before anybody is told of it, and again when it has ended. What runs
is in memory: after a restart a task that had not ended is `failed`, and says that it was interrupted. This is the
`TaskStore` of `edged.mcp.tasks`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw

from edged.errors import Overloaded, StorageError
from edged.jobtable import Record, Table
from edged.mcp import jsonrpc
from edged.mcp.catalog import Job, Principal
from edged.mcp.jsonrpc import Failure
from edged.mcp.tasks import Outcome, Performance, Status, Task
from edged.tasks import OneThread

_log = logging.getLogger(__name__)

_INTERRUPTED: Final = Failure(
    jsonrpc.INTERNAL_ERROR, "interrupted: the daemon ended while this ran", {"reason": "interrupted"}
)
_RETRY_AFTER_S: Final = 5.0


class JobsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many jobs, and for how long their outcomes are kept."""

    running_max: Annotated[int, Meta(ge=1, le=256)] = 8
    """Jobs that run at once, over all peers. Default: more than a small board can usefully do."""
    kept_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    """Tasks kept, ended ones too. Default: a busy day of installs and batches."""
    kept_per_peer_max: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Likewise of one principal. Default: a quarter, so that none crowds out the others."""
    outcome_max_bytes: Annotated[int, Meta(ge=65_536)] = 1024 * 1024
    """Longest result kept. Default: 1 MiB; larger ones belong into a resource."""


class _Desk:
    """See `edged.mcp.tasks.Desk`."""

    def __init__(self, jobs: Jobs, record: Record) -> None:
        self._jobs = jobs
        self._record = record

    def say(self, message: str) -> None:
        self._record.message = message
        self._jobs.touch(self._record)

    async def ask(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        record = self._record
        record.asked, record.answers = dict(asked), {}
        record.answered = asyncio.get_running_loop().create_future()
        record.status = "input_required"
        self._jobs.touch(record)
        try:
            return await record.answered
        finally:
            record.answered, record.status = None, "working"


class Jobs:
    """Runs jobs and keeps their tasks; an async context, at whose end what still runs is cancelled.

    `thread` does the disk work, `now_s` gives the wall clock in seconds since 1970.
    """

    def __init__(
        self, path: Path, thread: OneThread, now_s: Callable[[], float], config: JobsConfig | None = None
    ) -> None:
        self._path = path
        self._thread = thread
        self._now_s = now_s
        self._config = config or JobsConfig()
        self._records: dict[str, Record] = {}
        self._watchers: list[Callable[[Task], None]] = []
        self._closing = False
        self._group = asyncio.TaskGroup()
        self._table = Table(path)

    async def __aenter__(self) -> Jobs:
        records = await self._thread.run(self._table.open)
        self._records = {record.id: record for record in records}
        for record in records:
            record.on_disk = record.ended
            if not record.ended:
                await self._end(record, "failed", Outcome(error=Raw(jsonrpc.error_body(_INTERRUPTED))))
        await self._purge()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._closing = True
        for record in self._records.values():
            if record.run:
                record.run.cancel()
        await self._group.__aexit__(None, None, None)
        await self._thread.run(self._table.close)

    async def begin(self, owner: Principal, job: Job, perform: Performance) -> Task:
        """See `TaskStore`; raises StorageError where the disk refuses."""
        await self._purge()
        self._check_room(owner.name)
        now_s = self._now_s()
        record = Record(
            id=secrets.token_urlsafe(24),
            owner=owner.name,
            status="working",
            message=job.message,
            created_s=now_s,
            updated_s=now_s,
            ttl_ms=job.ttl_ms,
            poll_ms=job.poll_ms,
        )
        self._records[record.id] = record
        try:
            await self._thread.run(self._table.insert, record)
        except BaseException:
            del self._records[record.id]
            self._thread.run(self._table.delete, [record.id]).add_done_callback(_forget)
            raise
        self._group.create_task(self._perform(record, job, perform), name=f"job {record.id}")
        return record.task()

    async def get(self, owner: Principal, task_id: str) -> Task | None:
        """See `TaskStore`."""
        record = self._find(owner, task_id)
        if record is None or not record.on_disk:
            return record.task() if record else None
        return (await self._thread.run(self._table.read, task_id)).task()

    def owns(self, owner: Principal, task_id: str) -> bool:
        """See `TaskStore`."""
        return self._find(owner, task_id) is not None

    def answer(self, owner: Principal, task_id: str, answers: Mapping[str, Any]) -> bool:
        """See `TaskStore`."""
        record = self._find(owner, task_id)
        if record is None:
            return False
        for key in answers.keys() & record.asked.keys():
            del record.asked[key]
            record.answers[key] = answers[key]
        if record.answered and not record.answered.done() and not record.asked:
            record.answered.set_result(record.answers)
            record.status = "working"
        return True

    def cancel(self, owner: Principal, task_id: str) -> bool:
        """See `TaskStore`."""
        record = self._find(owner, task_id)
        if record and not record.ended and not record.stopping:
            record.stopping = True
            if record.run:
                record.run.cancel()
        return record is not None

    def on_change(self, callback: Callable[[Task], None]) -> None:
        """See `TaskStore`."""
        self._watchers.append(callback)

    def touch(self, record: Record) -> None:
        """Tell who watches that this task is not as it was."""
        record.updated_s = self._now_s()
        task = record.task()
        for callback in self._watchers:
            callback(task)

    def _find(self, owner: Principal, task_id: str) -> Record | None:
        record = self._records.get(task_id)
        if record is None or record.owner != owner.name or record.expired(self._now_s()):
            return None
        return record

    def _check_room(self, owner: str) -> None:
        running = sum(not record.ended for record in self._records.values())
        owned = sum(record.owner == owner for record in self._records.values())
        config = self._config
        if running >= config.running_max:
            raise Overloaded(f"{config.running_max} jobs are running", _RETRY_AFTER_S)
        if owned >= config.kept_per_peer_max or len(self._records) >= config.kept_max:
            raise Overloaded("too many tasks are kept; the oldest go first, in time", _RETRY_AFTER_S)

    async def _perform(self, record: Record, job: Job, perform: Performance) -> None:
        if self._closing:
            return
        record.run = asyncio.current_task()
        try:
            if record.stopping:
                raise asyncio.CancelledError  # noqa: TRY301 - cancelled before its first step
            outcome = await perform(_Desk(self, record))
        except asyncio.CancelledError:
            if self._closing:
                raise
            await self._end(record, "cancelled", Outcome(), job.ttl_ms)
        else:
            size = len(bytes(outcome.result)) if outcome.result is not None else 0
            if size > self._config.outcome_max_bytes:
                outcome = Outcome(error=Raw(jsonrpc.error_body(_too_large(size))))
            await self._end(record, "failed" if outcome.error else "completed", outcome, job.ttl_ms)

    async def _end(self, record: Record, status: Status, outcome: Outcome, keep_ms: int = 0) -> None:
        now_s = self._now_s()
        record.status, record.updated_s, record.run = status, now_s, None
        record.ttl_ms = max(record.ttl_ms, round((now_s - record.created_s) * 1000) + keep_ms)
        record.result = bytes(outcome.result) if outcome.result is not None else None
        record.error = bytes(outcome.error) if outcome.error is not None else None
        try:
            await self._thread.run(self._table.update, record)
        except StorageError as exc:
            _log.error("outcome not kept task=%s reason=%s", record.id, exc.message)
        else:
            record.on_disk = True
        task = record.task()
        for callback in self._watchers:
            callback(task)
        if record.on_disk:
            record.result = record.error = None

    async def _purge(self) -> None:
        now_s = self._now_s()
        old = [record.id for record in self._records.values() if record.expired(now_s)]
        if old:
            for task_id in old:
                del self._records[task_id]
            await self._thread.run(self._table.delete, old)


def _forget(future: asyncio.Future[None]) -> None:
    """A row that could not be deleted is found at the next start, as interrupted."""
    if not future.cancelled():
        future.exception()


def _too_large(size_bytes: int) -> Failure:
    return Failure(jsonrpc.INTERNAL_ERROR, f"the result has {size_bytes} bytes, more than are kept")
