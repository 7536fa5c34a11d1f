"""The tasks extension, `io.modelcontextprotocol/tasks`: jobs that outlive their request.

Pure. A `TaskStore` keeps tasks and runs what they do; this module says what a job does with its store, and what a
task looks like. A question a job asks parks its task until every answer is there, then the job runs again from
its start (see `asking`).
Source: SEP-2663; ext-tasks specification/draft/tasks.md.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import EdgedError
from edged.mcp import jsonrpc, questions
from edged.mcp.asking import InputRequired, Question
from edged.mcp.catalog import Job, LogLevel, Principal
from edged.mcp.jsonrpc import Failure
from edged.mcp.request import Shape
from edged.mcp.revision import V2026_07_28

_log = logging.getLogger(__name__)

Status: TypeAlias = Literal["working", "input_required", "completed", "failed", "cancelled"]


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task as the client sees it."""

    task_id: str
    status: Status
    status_message: str | UnsetType = UNSET
    created_at: str
    """ISO 8601."""
    last_updated_at: str
    ttl_ms: int | None
    """Milliseconds from its creation that it is kept; may grow."""
    poll_interval_ms: int
    input_requests: Mapping[str, Any] | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended: with a result (one that says `isError` too), or with a JSON-RPC error."""

    result: Raw | None = None
    error: Raw | None = None


class Desk(Protocol):
    """What a running job needs of its store."""

    def say(self, message: str) -> None:
        """Show what is going on."""

    def ask(self, asked: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Park the task with these input requests; every answer, once the last is there."""


Performance: TypeAlias = Callable[[Desk], Awaitable[Outcome]]


class TaskStore(Protocol):
    """Keeps tasks where a restart does not lose them. A task is visible to the principal that caused it alone."""

    def begin(self, owner: Principal, job: Job, perform: Performance) -> Awaitable[Task]:
        """Create a task durably, start `perform`, and only then give the task; raises Overloaded."""

    def get(self, owner: Principal, task_id: str) -> Awaitable[Task | None]:
        """The task as it is now."""

    def owns(self, owner: Principal, task_id: str) -> bool:
        """Whether there is such a task."""

    def answer(self, owner: Principal, task_id: str, answers: Mapping[str, Any]) -> bool:
        """Hand answers to a parked task, ignoring those to nothing it asks; False where there is no such task."""

    def cancel(self, owner: Principal, task_id: str) -> bool:
        """Ask a task to stop; False where there is no such task."""

    def on_change(self, callback: Callable[[Task], None]) -> None:
        """Have `callback` called with each task that changed."""


class JobWork:
    """What a job sees (`catalog.Work`): progress is shown as its status; nothing goes to the log of a client."""

    def __init__(self, principal: Principal, trace: str | None, capabilities: Mapping[str, Any]) -> None:
        self.principal = principal
        self.trace = trace
        self.answers: dict[str, Any] = {}
        self._capabilities = capabilities
        self._desk: Desk | None = None

    def at(self, desk: Desk) -> JobWork:
        """The same, whose progress is shown there."""
        self._desk = desk
        return self

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """See `catalog.Work`."""
        if self._desk:
            of = "" if total is None else f" of {total:g}"
            self._desk.say(f"{message} ({done:g}{of})" if message else f"{done:g}{of}")

    def log(self, level: LogLevel, data: object, logger: str | None = None) -> None:
        """See `catalog.Work`: the extension has no log messages."""

    def can(self, kind: type[Question]) -> bool:
        """See `catalog.Work`."""
        return questions.takes(kind, self._capabilities, V2026_07_28)

    def ask(self, key: str, question: Question) -> Any:
        """See `catalog.Work`."""
        return self.ask_all({key: question})[key]

    def ask_all(self, wanted: Mapping[str, Question]) -> dict[str, Any]:
        """See `catalog.Work`."""
        missing = {key: question for key, question in wanted.items() if key not in self.answers}
        if missing:
            questions.check_taken(missing, self._capabilities, V2026_07_28)
            raise InputRequired(missing)
        return {key: questions.read(key, question, self.answers[key]) for key, question in wanted.items()}


def performance(job: Job, work: JobWork, shape: Shape) -> Performance:
    """The job as its store runs it: to a result or an error, whatever happens. Only cancellation passes through."""

    async def perform(desk: Desk) -> Outcome:
        while True:
            try:
                result = await job.run(work.at(desk))
            except InputRequired as required:
                asked = {key: questions.wire(q, V2026_07_28) for key, q in required.questions.items()}
                work.answers.update(await desk.ask(asked))
            except EdgedError as exc:
                return _ended(shape.excuse, exc)
            except Exception as exc:  # noqa: BLE001 - the request boundary: whatever it is, the task has ended
                return Outcome(error=_error_of(exc))
            else:
                return _ended(shape.body, result)

    return perform


def _ended(body: Callable[[Any], object], outcome: object) -> Outcome:
    try:
        return Outcome(result=Raw(msgspec.json.encode(body(outcome))))
    except Exception as exc:  # noqa: BLE001 - the request boundary: a result may be one that cannot be encoded
        return Outcome(error=_error_of(exc))


def _error_of(exc: Exception) -> Raw:
    if not isinstance(exc, Failure):
        _log.error("task failed", exc_info=exc)
        exc = Failure(jsonrpc.INTERNAL_ERROR, "internal error")
    return Raw(jsonrpc.error_body(exc))


UNKNOWN: Final = Failure(jsonrpc.INVALID_PARAMS, "$.taskId: no such task, or it has expired")
