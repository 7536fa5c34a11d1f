"""`batch_infer`: many inputs, one model, as a job that gives way to everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw

from edged.errors import BadArgument, EdgedError, NotFound, Refused
from edged.inference.manifest import Name
from edged.inference.request import Request
from edged.mcp.catalog import Annotations, Call, Job, Tier, Tool, ToolResult, Work
from edged.mcp.schema import Reader
from edged.tools.infer import Endpoint, Submit

NAME: Final = "batch_infer"
PRIORITY: Final = 2
"""Below what a call has that says nothing: a batch can wait."""
ITEMS_MAX: Final = 1000
TRIES_MAX: Final = 100
"""Refusals of one item in a row after which it is given up."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many inputs for one model."""

    model: Name
    items: Annotated[
        list[Raw],
        Meta(
            min_length=1,
            max_length=ITEMS_MAX,
            description="Each as infer_<model> takes it; paths under the configured roots keep it small",
        ),
    ]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each input, in their order."""

    model: str
    answered: int
    failed: int
    items: list[dict[str, Any]]
    """Each with `answer`, as infer_<model> gives it, or with `error`."""


def tool(endpoints: Mapping[str, Endpoint], submit: Submit) -> Tool:
    """Build the tool over the models that serve."""

    def infer(call: Call, arguments: Batch) -> Job:
        endpoint = endpoints.get(arguments.model)
        if endpoint is None:
            raise NotFound(
                f"no model {arguments.model} serves here; those that do: {', '.join(sorted(endpoints))}"
            )
        requests = [_request(endpoint, call, raw, index) for index, raw in enumerate(arguments.items)]
        return Job(
            lambda work: _run(endpoint, requests, submit, work),
            message=f"{len(requests)} inputs for {arguments.model}",
        )

    return Tool(
        name=NAME,
        title="Run a model on many inputs",
        description="Answers each input as infer_<model> would, one after the other, below the priority of single "
        "calls, and waits where the device is busy. For long lists declare the tasks extension, or ask for progress.",
        arguments=Batch,
        result=Answers,
        handler=infer,
        tier=Tier.ACT,
        annotations=Annotations(read_only=True, destructive=False, idempotent=True),
    )


def _request(endpoint: Endpoint, call: Call, raw: Raw, index: int) -> Request:
    """One item, checked before any of them runs."""
    place = f"$.items[{index}]"
    try:
        arguments = Reader(endpoint.arguments).read(raw)
        request = endpoint.request(call, arguments)
    except BadArgument as exc:
        raise BadArgument(f"{place}{exc.message.removeprefix('$')}") from exc
    if request.stream is not None:
        raise BadArgument(f"{place}.stream: the items of a batch are judged by themselves")
    return msgspec.structs.replace(request, priority=min(request.priority, PRIORITY))


async def _run(endpoint: Endpoint, requests: list[Request], submit: Submit, work: Work) -> ToolResult:
    items: list[dict[str, Any]] = []
    failed = 0
    for done, request in enumerate(requests):
        work.progress(done, len(requests), f"{failed} failed" if failed else None)
        try:
            result = endpoint.result(await _patiently(request, submit))
        except EdgedError as exc:
            failed += 1
            items.append({"error": exc.details()})
        else:
            items.append({"answer": result.structured})
    answers = Answers(model=endpoint.manifest.name, answered=len(items) - failed, failed=failed, items=items)
    return ToolResult(
        structured=answers, text=f"{answers.answered} of {len(items)} answered", is_error=failed == len(items)
    )


async def _patiently(request: Request, submit: Submit) -> Any:
    """The answer, waited for through refusals that say when to come back."""
    for _ in range(TRIES_MAX - 1):
        try:
            return await submit(request, None)
        except Refused as exc:
            await asyncio.sleep(exc.retry_after_s)
    return await submit(request, None)
