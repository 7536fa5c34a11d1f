"""Every model ready to install, third-party weights fetched once and checked by hash."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
FETCHED = Path(os.environ.get("EDGED_MODELS", CHECKOUT / ".cache" / "models"))


def fetched() -> Path:
    """Return the directory that holds a folder for each model."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    with (FETCHED.parent / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test workers, one fetch
        command = [sys.executable, str(CHECKOUT / "models" / "fetch.py"), "--into", str(FETCHED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return FETCHED
