"""`self_test`: whether what runs the models, and every model that serves, still does what it did when admitted."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from edged.errors import EdgedError
from edged.inference.manifest import Name
from edged.inference.trial.report import Report
from edged.mcp.catalog import Annotations, Call, Job, Tier, Tool, ToolResult, Work
from edged.tools.models import Progress

KERNELS_ERROR_MAX = 1e-5


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to test."""

    model: Annotated[Name | None, Meta(description="Default: every model that serves")] = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried."""

    what: str
    passed: bool
    detail: str
    """What was measured, or what is wrong and what helps."""


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried, in order."""

    passed: bool
    checks: list[Check]


class Examined(Protocol):
    """What this tool needs of the daemon."""

    def active(self) -> list[str]: ...  # noqa: D102 - a port
    def examine(self, name: str, progress: Progress) -> Awaitable[dict[str, Report]]: ...  # noqa: D102
    def kernels_error(self) -> Awaitable[float | None]: ...  # noqa: D102


def tool(device: Examined) -> Tool:
    """Build the tool."""

    def test(_call: Call, arguments: SelfTest) -> Job:
        return Job(lambda work: _run(device, arguments.model, work), message="testing")

    return Tool(
        name="self_test",
        title="Test the device",
        description="Hashes every file of each serving model and runs it again in a process of its own, against its "
        "golden vector where it has one; compares the kernels with numpy's. Changes nothing; takes seconds a model.",
        arguments=SelfTest,
        result=Checks,
        handler=test,
        tier=Tier.OPERATOR,
        annotations=Annotations(read_only=True, destructive=False, idempotent=True),
    )


async def _run(device: Examined, model: str | None, work: Work) -> ToolResult:
    names = device.active() if model is None else [model]
    checks = [await _kernels(device)]
    for done, name in enumerate(names):
        work.progress(done, len(names), f"model {name}")
        checks += await _model(device, name)
    failed = [check for check in checks if not check.passed]
    text = (
        "; ".join(f"{check.what}: {check.detail}" for check in failed) or f"all {len(checks)} checks passed"
    )
    return ToolResult(structured=Checks(passed=not failed, checks=checks), text=text)


async def _kernels(device: Examined) -> Check:
    error = await device.kernels_error()
    if error is None:
        return Check(what="kernels", passed=True, detail="not in use: no model serves")
    passed = error <= KERNELS_ERROR_MAX
    remedy = "" if passed else "; `edged kernels build` compiles them anew"
    return Check(what="kernels", passed=passed, detail=f"{error:.1e} from numpy's{remedy}")


async def _model(device: Examined, name: str) -> list[Check]:
    try:
        reports = await device.examine(name, lambda _what, _bytes: None)
    except EdgedError as exc:
        return [Check(what=f"model {name}", passed=False, detail=exc.message)]
    return [
        Check(what=f"model {name}, {variant}", passed=True, detail=_measured(report))
        for variant, report in reports.items()
    ]


def _measured(report: Report) -> str:
    golden = "" if report.golden_error is None else f", {report.golden_error:.2g} from its golden vector"
    return f"{report.invoke_ms:.2f} ms on {report.runtime}{golden}"
