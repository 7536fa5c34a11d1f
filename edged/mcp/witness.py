"""Who is told what peers ask for, before it happens where it is an operator's act.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from msgspec.structs import replace

from edged.mcp.asking import InputRequired
from edged.mcp.content import ToolResult
from edged.mcp.offers import Job, Principal, Work


class Witness(Protocol):
    """Keeps a record; only `act` waits for it. What it raises is the call's error."""

    async def act(self, who: Principal, what: str, arguments: object, *, frees: bool) -> None:
        """An operator's act is about to happen. Raises an EdgedError, and then it does not."""

    def acted(self, who: Principal, what: str, error: str | None) -> None:
        """It has happened, or failed with this error."""

    def called(self, who: Principal, what: str) -> None:
        """A tool below an operator's, that does something, is called."""

    def read(self, who: Principal, what: str) -> None:
        """A resource that operators alone may read is read."""

    def refused(self, who: Principal, what: str, why: str) -> None:
        """Somebody asked for what he may not. On any thread."""


def witnessed(
    witness: Witness, what: str, handler: Callable[[Any, Any], Any], *, frees: bool = False
) -> Callable[[Any, Any], Any]:
    """The same handler, which runs once its witness has it on record and tells how it went."""

    async def run(call: Work, arguments: object) -> object:
        await witness.act(call.principal, what, arguments, frees=frees)
        outcome = await _told(witness, what, call, lambda: handler(call, arguments))
        if isinstance(outcome, Job):
            return replace(outcome, run=partial(_run, witness, what, outcome))
        return outcome

    return run


async def _run(witness: Witness, what: str, job: Job, work: Work) -> ToolResult:
    result: ToolResult = await _told(witness, what, work, lambda: job.run(work))
    return result


async def _told(witness: Witness, what: str, work: Work, act: Callable[[], Any]) -> Any:
    """What `act` gives; its end is told, unless it goes on as a job or once the client has answered a question."""
    try:
        outcome = act()
        if hasattr(outcome, "__await__"):
            outcome = await outcome
    except InputRequired:
        raise
    except BaseException as exc:
        witness.acted(work.principal, what, type(exc).__name__)
        raise
    if not isinstance(outcome, Job):
        failed = isinstance(outcome, ToolResult) and outcome.is_error
        witness.acted(work.principal, what, "error" if failed else None)
    return outcome
