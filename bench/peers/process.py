"""A server as its own process: started, waited for, and ended by its process id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

START_S = 60.0
STOP_S = 10.0
POLL_S = 0.001


class Running(NamedTuple):
    """A server that accepts connections on `socket`."""

    pid: int
    socket: Path


@contextmanager
def running(command: Sequence[str], path: Path, log: Path) -> Iterator[Running]:
    """Run `command` until it listens on `path`; it is ended on the way out."""
    process = spawn(command, log)
    try:
        wait_for(path, process, log)
        yield Running(process.pid, path)
    finally:
        stop(process)


def spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start `command` with this checkout importable, its output in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment()
        )


def environment() -> dict[str, str]:
    """Ours, with this checkout importable and its bytecode kept, as that of an installed package is."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `path` accepts; raises RuntimeError where the process ends or START_S pass before that."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(POLL_S)
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL where that is not heard within STOP_S."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def python(module: str, *arguments: str | Path) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]
