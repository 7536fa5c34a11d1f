"""The tool that says in words why the device is slow, hot or failing, from its own figures and its last events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from edged.mcp.catalog import Annotations, Call, Tier, Tool, ToolResult
from edged.power.service import Event
from edged.tools import diagnosis
from edged.tools.diagnosis import Figures, Finding
from edged.tools.view import View

MOST: Final = 6
"""Findings of a kind: what can be weighed at once."""
NOTHING: Final = "Nothing recorded explains it."


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom it is about."""

    model: Annotated[str, Meta(max_length=64)] | None = None
    """Only this model; default: all of them."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """What the device's own figures say, worst first; an empty list means that nothing recorded explains it."""

    slow: list[str]
    hot: list[str]
    failing: list[str]
    events: list[str]
    """The last changes of the limits, newest first."""


def tool(view: View, events: Callable[[], Sequence[Event]]) -> Tool:
    """The tool, over what the device shows of itself."""

    def why(_call: Call, asked: Asked) -> ToolResult:
        found = explain(figures_of(view, asked.model), events())
        return ToolResult(structured=found, text=described(found))

    return Tool(
        name="why",
        title="Why?",
        description="Why this device is slow, hot or failing, in sentences with their figures, and the last changes of "
        "its limits.",
        arguments=Asked,
        result=Why,
        handler=why,
        tier=Tier.READ,
        annotations=Annotations(read_only=True, destructive=False, idempotent=True),
    )


def figures_of(view: View, model: str | None) -> Figures:
    """What a diagnosis looks at; raises NotFound where there is no such model."""
    models = [view.model(one) for one in ([model] if model else sorted(view.models))]
    metrics = view.metrics()
    return Figures(
        view.device(),
        models,
        metrics.memory_bytes,
        metrics.memory_budget_bytes,
        view.network().troubles,
    )


def explain(figures: Figures, events: Sequence[Event]) -> Why:
    """All three diagnoses, and what happened."""
    return Why(
        slow=_said(diagnosis.slow(figures)),
        hot=_said(diagnosis.hot(figures)),
        failing=_said(diagnosis.failing(figures)),
        events=[_told(event) for event in events],
    )


def described(why: Why) -> str:
    """As paragraphs."""
    parts = {"Slow": why.slow, "Hot": why.hot, "Failing": why.failing}
    lines = [line for title, said in parts.items() for line in (f"{title}?", *_listed(said or [NOTHING]))]
    return "\n".join([*lines, "What happened:", *_listed(why.events or ["The limits have not changed."])])


def _said(findings: Sequence[Finding]) -> list[str]:
    return [finding.says for finding in findings[:MOST]]


def _told(event: Event) -> str:
    change = f"{event.before} to {event.after}" if event.before != event.after else event.after
    return f"{ago(event.ago_s)} ago, {change}: {event.reason.removeprefix(f'{event.after}: ')}."


def ago(seconds: float) -> str:
    """A span as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _listed(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines]
