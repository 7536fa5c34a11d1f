"""How the outcomes of handlers look on the wire, for kinds that need nothing of their request.

Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from edged.errors import DeviceError, EdgedError, Refused
from edged.mcp import jsonrpc
from edged.mcp.content import ToolResult
from edged.mcp.jsonrpc import Failure
from edged.mcp.results import call_result
from edged.mcp.revision import Revision
from edged.mcp.tasks import UNKNOWN, Task


class ToolShape:
    """Outcomes of tools: what they raise on purpose is a result too, so that a model can act on it."""

    def __init__(self, revision: Revision, stamp: Raw) -> None:
        self._revision = revision
        self._stamp = stamp

    def body(self, outcome: Any) -> object:
        """The result as this revision shows it, or that there will be one."""
        if type(outcome) is Task:
            return task_result(outcome, "task", self._stamp)
        return call_result(outcome, self._revision, self._stamp)

    def excuse(self, exc: EdgedError) -> object:
        """An `isError` result."""
        failed = ToolResult(structured=exc.details(), text=exc.message, is_error=True)
        return call_result(failed, self._revision, self._stamp)


class MethodShape:
    """Outcomes of our own methods: a Struct is the result, what they raise on purpose an error."""

    def __init__(self, revision: Revision, stamp: Raw) -> None:
        self._stamp = {"resultType": "complete", "_meta": stamp} if revision.stateless else {}

    def body(self, outcome: Any) -> object:
        """The Struct's members, stamped where the revision wants it."""
        return {**msgspec.to_builtins(outcome), **self._stamp}

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        raise failure_of(exc)


class TaskShape:
    """Outcomes of looking for a task."""

    def __init__(self, stamp: Raw) -> None:
        self._stamp = stamp

    def body(self, outcome: Task | None) -> object:
        """The task with all its details."""
        if outcome is None:
            raise UNKNOWN
        return task_result(outcome, "complete", self._stamp)

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        raise failure_of(exc)


def task_result(task: Task, kind: str, stamp: Raw) -> object:
    """A task as a result of this kind."""
    members = msgspec.json.decode(msgspec.json.encode(task), type=dict[str, Raw])
    return {**members, "resultType": kind, "_meta": stamp}


def failure_of(exc: EdgedError) -> Failure:
    """The error member for what a handler raised on purpose."""
    code = jsonrpc.INVALID_PARAMS
    if isinstance(exc, (Refused, DeviceError)):
        code = jsonrpc.BUSY if isinstance(exc, Refused) else jsonrpc.INTERNAL_ERROR
    return Failure(code, exc.message, exc.details())
