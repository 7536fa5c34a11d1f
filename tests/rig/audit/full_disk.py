"""Runs a function of a module on a file system of its own that is small: `python -m tests.rig.audit.full_disk`.

Mounted in namespaces of its own (unshare(1)), so nothing of it is left, and no rights are needed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import IO

_MOUNTED = 'mount -t tmpfs -o size=4m full "$1" && shift && exec "$@"'


def run_small(folder: Path, function: str) -> None:
    """Call `module:function` with `folder`, which has 4 MiB while it runs; AssertionError with what it raised."""
    module = ["-m", "tests.rig.audit.full_disk", function, str(folder)]
    argv = ["unshare", "-rm", "sh", "-c", _MOUNTED, "sh", str(folder), sys.executable, *module]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fill(folder: Path) -> IO[bytes]:
    """Leave no byte; close and unlink what it gives to make room again."""
    hog = (folder / "hog").open("wb", buffering=0)
    for size in (65_536, 4096, 1):
        try:
            while hog.write(bytes(size)):
                pass
        except OSError:
            continue
    return hog


def free(hog: IO[bytes]) -> None:
    """Make room again."""
    hog.close()
    Path(hog.name).unlink()


if __name__ == "__main__":
    name, _, function_name = sys.argv[1].partition(":")
    getattr(importlib.import_module(name), function_name)(Path(sys.argv[2]))
