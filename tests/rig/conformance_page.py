"""The conformance suite's results, as a table and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tests.rig.conformance_results import Outcome
from tests.rig.served import ROOT

_HEAD = ("revision", "scenario", "scored", "passed", "failed", "warned", "skipped")


def table(outcomes: Sequence[Outcome]) -> str:
    """One line a scenario, its problems below it."""
    rows = [_HEAD, *map(_row, outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for row, problems in zip(rows, [(), *(one.problems for one in outcomes)], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        lines += [f"    {problem}" for problem in problems]
    return "\n".join(lines)


def page(outcomes: Sequence[Outcome]) -> str:
    """The same in Markdown."""
    locked = json.loads((ROOT / ".ci/requirements/conformance/package.json").read_text())["dependencies"]
    suite = " ".join(f"{name}@{version}" for name, version in locked.items())
    lines = [
        "# MCP conformance",
        "",
        f"`./dev conformance --write bench/results/conformance.md`: {suite} against the daemon on its own HTTP",
        "socket, with the test plug-in `tests/rig/everything.py`. What is not scored is optional or pending in the",
        "suite itself; it is run and counted here all the same. Exceptions are explained in `docs/conformance.md`.",
        "",
        *_markdown([_HEAD, *map(_row, outcomes)]),
        "",
        *(f"- {one.revision} {one.scenario}: {problem}" for one in outcomes for problem in one.problems),
        f"{sum(one.checks for one in outcomes)} checks, {sum(one.failed for one in outcomes)} failures",
    ]
    return "\n".join(lines) + "\n"


def _row(one: Outcome) -> tuple[str, ...]:
    counts = (one.passed, one.failed, one.warned, one.skipped)
    return (one.revision, one.scenario, "yes" if one.scored else "no", *map(str, counts))


def _markdown(rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(_HEAD), *lines[1:]]
