"""Try a model in a short-lived child before it may touch the daemon: untrusted files crash interpreters.

The child gets the model as a sealed memory file, a pipe for its report, and nothing else of ours. It limits its own
memory, time and files first, then checks the file's structure, loads it, runs it on several kinds of input and
loads it again, under an allocator that fills memory with garbage. A pass is evidence, not proof.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

import edged
from edged.errors import BadModel, DeviceError
from edged.inference import memfd
from edged.inference.trial.fit import differences
from edged.inference.trial.report import Line, Report, Task, Trial

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2].split('\\n'); "
    "from edged.inference.trial.probe import main; main(sys.argv[1])"
)
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_PERTURB_": "165",  # mallopt(3) M_PERTURB: no freed or fresh memory reads as zeros
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_PASSED_ON = ("LD_LIBRARY_PATH",)
_REPORT_CAP = 1 << 20
_STDERR_CAP = 4096
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)


class Preflight:
    """Runs trials with one runtime; safe to call from any thread, one child a call.

    `runtime` is litert or tflite. `memory_bytes` caps the child's address space, `timeout_s` its life.
    """

    def __init__(self, runtime: str, *, timeout_s: float = 30.0, memory_bytes: int = 1 << 30) -> None:
        self._runtime = runtime
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes

    def __call__(self, trial: Trial) -> Report:
        """The report of a model that fits its manifest and survived; BadModel names why one did not.

        Raises DeviceError when no child can run here at all.
        """
        name = trial.variant.file
        report = self._fly(trial)
        if wrong := differences(trial.manifest, trial.label_count, report.inputs, report.outputs):
            raise BadModel(f"{name} does not fit its manifest: {'; '.join(wrong)}")
        if report.unfinite:
            raise BadModel(
                f"{name}: output {report.unfinite[0]!r} holds NaN or infinity for an input of zeros"
            )
        golden = trial.variant.golden
        if golden and report.golden_error is not None and report.golden_error > golden.tolerance:
            raise BadModel(
                f"{name} misses its golden vector by {report.golden_error:.6g}; the tolerance is {golden.tolerance:g}"
            )
        return report

    def _fly(self, trial: Trial) -> Report:
        deadline = time.monotonic() + self._timeout_s
        errors = memfd.create("preflight-stderr")
        try:
            with self._child(trial, errors) as (child, report_fd):
                lines = _read(report_fd, deadline)
                late = time.monotonic() >= deadline
            return self._verdict(trial.variant.file, child.returncode, lines, late=late, errors=errors)
        finally:
            os.close(errors)

    @contextlib.contextmanager
    def _child(self, trial: Trial, errors: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """The running child and the reading end of its report; dead when the block ends."""
        report_fd, writing = os.pipe2(os.O_CLOEXEC)
        try:
            task = Task(
                runtime=self._runtime,
                model_fd=trial.model_fd,
                report_fd=writing,
                golden_fd=trial.golden_fd,
                timeout_s=self._timeout_s,
                memory_bytes=self._memory_bytes,
            )
            try:
                child = _spawn(task, errors)
            finally:
                os.close(writing)
            try:
                yield child, report_fd
            finally:
                _end(child)
        finally:
            os.close(report_fd)

    def _verdict(self, name: str, status: int, content: bytes, *, late: bool, errors: int) -> Report:
        lines = list(_lines(content))
        last = lines[-1] if lines else Line("starting")
        if last.report is not None:
            return last.report
        if last.refused is not None:
            raise BadModel(f"{name}: {last.refused}")
        if last.doing == "starting" and not late:
            raise DeviceError(f"no pre-flight can run here: {_tail(errors) or _died(status)}")
        if late or -status in _TIME_SIGNALS:
            raise BadModel(f"{name}: took more than {self._timeout_s:g} s while {last.doing}")
        detail = f" ({said})" if (said := _tail(errors)) else ""
        raise BadModel(f"{name}: {_died(status)} while {last.doing}{detail}")


def _spawn(task: Task, errors: int) -> subprocess.Popen[bytes]:
    handed = [fd for fd in (task.model_fd, task.report_fd, task.golden_fd) if fd is not None]
    arguments = [
        sys.executable,
        "-I",
        "-S",
        "-B",
        "-c",
        _BOOT,
        msgspec.json.encode(task).decode(),
        _search_path(),
    ]
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=handed,
            start_new_session=True,
            cwd="/",
            env=_ENVIRONMENT | {key: os.environ[key] for key in _PASSED_ON if key in os.environ},
        )
    except OSError as exc:
        raise DeviceError(f"cannot start a pre-flight: {exc.strerror}") from exc


def _search_path() -> str:
    """Where this process finds its modules, so that the child runs the same ones, installed or checked out."""
    package = str(Path(edged.__file__).resolve().parent.parent)
    return "\n".join([package, *(entry for entry in sys.path if Path(entry).is_absolute())])


def _read(fd: int, deadline: float) -> bytes:
    """Everything the child reports until it ends, the deadline passes or the cap is reached."""
    poller, content = select.poll(), b""
    poller.register(fd, select.POLLIN)
    while len(content) < _REPORT_CAP and (left := deadline - time.monotonic()) > 0:
        if poller.poll(left * 1e3):
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                break
            content += chunk
    return content


def _end(child: subprocess.Popen[bytes]) -> None:
    """Reap the child; one that closed its report but lives on, or is late, is killed with all it started."""
    try:
        child.wait(0.5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _lines(content: bytes) -> Iterator[Line]:
    for line in content.split(b"\n")[:-1]:
        try:
            yield msgspec.json.decode(line, type=Line)
        except msgspec.DecodeError:  # a child whose memory is damaged may write anything
            return


def _tail(errors: int) -> str:
    """The last line the child wrote to stderr."""
    size = os.fstat(errors).st_size
    said = os.pread(errors, _STDERR_CAP, max(0, size - _STDERR_CAP)).decode(errors="replace").strip()
    return said.splitlines()[-1][:300] if said else ""


def _died(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = (
        signal.Signals(-status).name
        if -status in signal.valid_signals() and -status < 32
        else f"signal {-status}"
    )
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
