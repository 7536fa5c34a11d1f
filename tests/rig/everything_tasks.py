"""Tools of the conformance suite's whose work may be a task."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edged.errors import Rejected
from edged.mcp.catalog import Call, Form, Job, ToolResult, Work
from tests.rig.everything_asking import NAME, Nothing, form, text


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to greet."""

    name: str


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to take."""

    seconds: Annotated[float, Meta(ge=0, le=600)] = 1
    label: str = ""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to pretend to delete."""

    filename: str


def _greet(_call: Call, arguments: Named) -> ToolResult:
    return text(f"Hello, {arguments.name}!")


def _slow(_call: Call, arguments: Slow) -> Job:
    async def run(_work: Work) -> ToolResult:
        await asyncio.sleep(arguments.seconds)
        return text(f"Computed {arguments.label} in {arguments.seconds} s")

    return Job(run=run, message="Computing", poll_ms=200)


def _failing(_call: Call, _arguments: Nothing) -> Job:
    async def run(_work: Work) -> ToolResult:
        raise Rejected("the job failed, as it should")

    return Job(run=run, poll_ms=200)


def _broken(_call: Call, _arguments: Nothing) -> Job:
    async def run(_work: Work) -> ToolResult:
        raise RuntimeError("a fault of the handler's own, as it should be")

    return Job(run=run, poll_ms=200)


def _delete(_call: Call, arguments: File) -> Job:
    async def run(work: Work) -> ToolResult:
        question = form(f"Delete {arguments.filename}?", confirm={"type": "boolean"})
        reply = work.ask("confirm", question)
        done = reply.action == "accept" and reply.content.get("confirm") is True
        return text(f"{'Deleted' if done else 'Kept'} {arguments.filename}")

    return Job(run=run, poll_ms=200)


def _several(_call: Call, _arguments: Nothing) -> Job:
    async def run(work: Work) -> ToolResult:
        work.ask_all({"first": NAME, "second": Form("And your second name?", NAME.schema)})
        return text("Both inputs received.")

    return Job(run=run, poll_ms=200)


def _asking_first(call: Call, _arguments: Nothing) -> Job:
    """Ask while it is a call, then go on as a task that knows the answer."""
    name = call.ask("user_name", NAME).content.get("name", "stranger")

    async def run(_work: Work) -> ToolResult:
        return text(f"Hello, {name}!")

    return Job(run=run, poll_ms=200)


TOOLS: tuple[tuple[str, Any, type[msgspec.Struct], dict[str, Any]], ...] = (
    ("greet", _greet, Named, {}),
    ("slow_compute", _slow, Slow, {}),
    ("failing_job", _failing, Nothing, {"needs_tasks": True}),
    ("protocol_error_job", _broken, Nothing, {}),
    ("confirm_delete", _delete, File, {}),
    ("multi_input", _several, Nothing, {}),
    ("test_tool_with_task", _asking_first, Nothing, {}),
)
