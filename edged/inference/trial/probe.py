"""The child of a pre-flight: limits itself, then loads a model and runs it, telling where it is.

Started by `preflight`; the daemon does not import it. It may die at any point: the last line it wrote says what
it was doing. NumPy and TFLite are imported only for a file whose structure is right.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal

import msgspec

from edged.inference.trial import flatcheck
from edged.inference.trial.report import Line, Report, Task, Unfit

REPORT_BYTES = 1 << 20
"""Cap on what the child may write to any file."""


def main(task_json: str) -> None:
    """Run one task and write its report; ends the process, without finalisers."""
    task = msgspec.json.decode(task_json, type=Task)
    limit(task)
    tell(task, Line("starting"))
    try:
        tell(task, Line("done", report=fly(task)))
    except Unfit as exc:
        tell(task, Line("done", refused=str(exc)))
    except MemoryError:
        tell(
            task,
            Line("done", refused=f"needs more than the {task.memory_bytes >> 20} MiB a pre-flight may use"),
        )
    os._exit(0)


def fly(task: Task) -> Report:
    """Check the file's structure, then run it; raises Unfit."""
    tell(task, Line("checking the structure"))
    content = os.pread(task.model_fd, os.fstat(task.model_fd).st_size, 0)
    if problem := flatcheck.problem(content):
        raise Unfit(problem)
    del content
    tell(task, Line("starting"))
    from edged.inference.trial import exercise  # noqa: PLC0415 - NumPy and TFLite, only for a file worth it

    return exercise.run(task, lambda doing: tell(task, Line(doing)))


def limit(task: Task) -> None:
    """Bound this process for good, before it looks at the model."""
    seconds = int(task.timeout_s) + 1
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_CPU, seconds)
    _cap(resource.RLIMIT_NOFILE, 64)
    _cap(resource.RLIMIT_FSIZE, REPORT_BYTES)
    if task.memory_bytes:
        _cap(resource.RLIMIT_AS, task.memory_bytes)
    signal.alarm(seconds + 1)  # should the parent die first
    with contextlib.suppress(OSError):  # a hardened unit may forbid both
        os.nice(5)
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")  # ended before anything that serves
        os.close(score)


def tell(task: Task, line: Line) -> None:
    """Write one line of the report at once."""
    view = memoryview(msgspec.json.encode(line) + b"\n")
    while view:
        view = view[os.write(task.report_fd, view) :]


def _cap(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (value, value))
