"""Asking after tasks, answering them, and stopping them.

Pure. Source: SEP-2663; ext-tasks specification/draft/tasks.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edged.mcp import jsonrpc, questions
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.modern import knows_tasks
from edged.mcp.request import Request
from edged.mcp.tasks import UNKNOWN, TaskStore

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server


class _TaskParams(msgspec.Struct, frozen=True, rename="camel"):
    task_id: str


class _UpdateParams(msgspec.Struct, frozen=True, rename="camel"):
    task_id: str
    input_responses: dict[str, Any]


_task_params = msgspec.json.Decoder(_TaskParams)
_update_params = msgspec.json.Decoder(_UpdateParams)


def get(server: Server, conversation: Conversation, request: Request) -> None:
    """The task as it is now."""
    store = _store(server, request)
    params = request.read(_task_params)
    shape = server.task_shape
    conversation.start(request, shape, lambda call, _: store.get(call.principal, params.task_id), None)


def update(server: Server, conversation: Conversation, request: Request) -> None:
    """Hand a task the answers it waits for; those to nothing it asks are ignored."""
    store = _store(server, request)
    params = request.read(_update_params)
    if not store.answer(conversation.principal, params.task_id, params.input_responses):
        raise UNKNOWN
    conversation.answer(request, server.done)


def cancel(server: Server, conversation: Conversation, request: Request) -> None:
    """Ask a task to stop; one that has ended stays as it is."""
    store = _store(server, request)
    if not store.cancel(conversation.principal, request.read(_task_params).task_id):
        raise UNKNOWN
    conversation.answer(request, server.done)


def _store(server: Server, request: Request) -> TaskStore:
    if server.tasks is None:
        raise Failure(jsonrpc.METHOD_NOT_FOUND, f"unknown method {request.method!r}")
    if not knows_tasks(request.meta):
        raise questions.missing_tasks(request.revision)
    return server.tasks
