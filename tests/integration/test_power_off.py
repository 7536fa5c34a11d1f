"""Powering off: when, how often, and what a command that fails leaves behind. The command is a stand-in, run for real."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edged.power.poweroff import AGAIN_S, LOOKS, PoweredOff, PowerOff
from edged.power.readings import Reading, Sample

APPEND = "import sys; open(sys.argv[1], 'a').write('x')"


def at(percent: float | None) -> Sample:
    return {"battery.reserve": Reading(value=percent, unit="%", source="test", age_s=0.0)}


def decided(reads: Sequence[float | None], command: Sequence[str], every_s: float = 2.0) -> list[PoweredOff]:
    told: list[PoweredOff] = []

    async def run() -> None:
        off = PowerOff(command, 3.0, told.append)
        for index, percent in enumerate(reads):
            await off.look(at(percent), index * every_s)

    asyncio.run(run())
    return told


@pytest.mark.parametrize(
    ("reads", "times"),
    [
        ([3.0] * LOOKS, 1),
        ([3.0] * (LOOKS - 1), 0),
        ([3.0, 3.0, 60.0, 3.0, 3.0], 0),
        ([3.0, None, 3.0, None, 3.0, None], 0),
        ([3.1] * 20, 0),
        ([100.0] * 20, 0),
        ([2.0] * 20, 1),
    ],
)
def test_it_runs_the_command_once_the_gauge_said_so_three_times_in_a_row(
    reads: list[float | None], times: int, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    told = decided(reads, [sys.executable, "-c", APPEND, str(ran)])
    assert len(told) == times
    assert (ran.read_text() if ran.exists() else "") == "x" * times


@pytest.mark.parametrize(
    "command", [[sys.executable, "-c", "raise SystemExit(4)"], ["/nonexistent/poweroff"]]
)
def test_a_command_that_fails_is_logged_and_tried_again_a_minute_later(
    command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    told = decided([2.0] * 4, command, every_s=AGAIN_S)
    assert len(told) == 2
    assert sum("power off failed" in record.message for record in caplog.records) == 2


def test_the_command_goes_to_no_shell(tmp_path: Path) -> None:
    ran = tmp_path / "ran; touch evil"
    decided([1.0] * 3, [sys.executable, "-c", APPEND, str(ran)])
    assert [file.name for file in tmp_path.iterdir()] == ["ran; touch evil"]
