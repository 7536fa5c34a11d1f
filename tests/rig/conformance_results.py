"""What the conformance suite found: its files, read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

REVISIONS = ("2026-07-28", "2025-11-25")

_NOT_SCORED = re.compile(r"  - scenario: (?P<name>\S+)\n    leg: server\n")
_LISTED = re.compile(r"  - (?P<name>\S+)")


class Check(msgspec.Struct, rename="camel"):
    """One thing that was checked."""

    id: str
    name: str
    status: str
    error_message: str = ""


@dataclass(frozen=True)
class Outcome:
    """One scenario at one revision; `problems` are failures and warnings in words."""

    revision: str
    scenario: str
    scored: bool
    passed: int
    failed: int
    warned: int
    skipped: int
    problems: tuple[str, ...]

    @property
    def checks(self) -> int:
        """Those that say yes or no."""
        return self.passed + self.failed


def expected(suite: Path, revision: str) -> list[tuple[str, bool]]:
    """The scenarios that the suite runs for a revision, and whether they are scored."""
    text = (suite / "requirements" / f"{revision}.yaml").read_text()
    required = text.partition("\nserver:\n")[2].partition("\nclient:\n")[0]
    beside = text.partition("\nnot_scored:\n")[2]
    return [
        *((found["name"], True) for found in _LISTED.finditer(required)),
        *((found["name"], False) for found in _NOT_SCORED.finditer(beside)),
    ]


def outcome(revision: str, scenario: str, scored: bool, folder: Path | None) -> Outcome:  # noqa: FBT001 - a field
    """What a scenario's folder holds; one that gave no result failed."""
    if folder is None:
        return Outcome(revision, scenario, scored, 0, 1, 0, 0, ("failed: it gave no result",))
    checks = msgspec.json.decode((folder / "checks.json").read_bytes(), type=list[Check])
    passed, failed, warned, skipped = (
        sum(check.status == word for check in checks) for word in ("SUCCESS", "FAILURE", "WARNING", "SKIPPED")
    )
    problems = tuple(
        f"{'failed' if check.status == 'FAILURE' else 'warned'}: {check.name}: {check.error_message}"
        for check in checks
        if check.status in ("FAILURE", "WARNING")
    )
    return Outcome(revision, scenario, scored, passed, failed, warned, skipped, problems)
