"""A few runs of `./dev chaos keys`."""

from __future__ import annotations

import subprocess
import sys


def test_a_sample_of_the_campaign_keeps_every_promise() -> None:
    command = [sys.executable, "-m", "tests.chaos.keys", "--seed", "4000", "--runs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.stdout.splitlines()[-1] == "keys: 3 runs, 0 failures", done.stdout + done.stderr
