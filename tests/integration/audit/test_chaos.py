"""A sample of the campaign, `./dev chaos audit`."""

from __future__ import annotations

import subprocess
import sys

from tests.chaos.audit import every_byte


def test_changed_logs_are_named_and_power_cuts_lose_nothing_that_was_acknowledged() -> None:
    argv = [sys.executable, "-m", "tests.chaos.audit", "--seed", "1", "--runs", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["audit: 3 runs, 0 failures"], done.stdout + done.stderr


def test_a_flip_of_any_byte_is_named_by_its_record() -> None:
    assert every_byte(100, step=7)[1] == 0
