"""Kill a process at every step of a library's life, and look at what is left.

    python -m tests.rig.killed_library ROOT

ROOT holds version 1 of `thing`, active. A child of its own for every step adds version 2, activates it, rolls back,
quarantines and removes it, and is killed where it touches the disk for the n-th time. Prints how many steps
there were, then the states that were found. A program of its own, because it forks.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from edged.inference.models.library import Library
from edged.inference.trial.report import Report, Trial
from tests.rig.hostile import convolution
from tests.rig.manifests import TENSORS, manifest_text

TOUCHES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


def admitted(_trial: Trial) -> Report:
    """The pre-flight has tests of its own; here only the disk is looked at."""
    return Report(runtime="", inputs=(), outputs=(), load_ms=0, invoke_ms=0, memory_bytes=0, peak_rss_bytes=0)


def live(root: Path, last_step: int) -> None:
    """Version 2's whole life, ended by SIGKILL at its `last_step`-th touch of the disk."""
    library, seen = Library(root, admitted), 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in TOUCHES and str(root) in str(arguments):
            seen += 1
            if seen == last_step:
                os.kill(os.getpid(), 9)

    sys.addaudithook(hook)
    library.add(manifest_text(TENSORS, {"only": convolution()}, version="2"), {"only.tflite": convolution()})
    library.activate("thing", "2")
    library.rollback("thing")
    library.quarantine("thing", "2", "enough")
    library.remove("thing", "2")


def killed(root: Path, step: int) -> bool:
    """Run a life in a child; whether the kill came before its end."""
    child = os.fork()
    if child == 0:
        live(root, step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, 9)
    return status == 9


def found(root: Path) -> str:
    """The states after a restart, every version proven whole and exactly one serving."""
    after = Library(root, admitted)
    assert len(after.active()) == 1
    assert list((root / ".staging").iterdir()) == []
    for slot in after.entries():
        os.close(after.open_variant("thing", slot.version, "only"))
    return ", ".join(f"{slot.version} {slot.state.value}" for slot in after.entries())


def main() -> None:
    """Step through the life until a child lives to its end."""
    outcomes, step, ended = set(), 0, False
    while not ended:
        step += 1
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            copy = shutil.copytree(sys.argv[1], Path(directory) / "models")
            ended = not killed(copy, step)
            outcomes.add(found(copy))
    sys.stdout.write("\n".join([str(step), *sorted(outcomes)]) + "\n")


if __name__ == "__main__":
    main()
