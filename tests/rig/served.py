"""Any server that speaks MCP on a Unix socket and says READY=1, as a process of the test's own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S = 20.0
STOP_S = 20.0


def echo_command(path: Path) -> list[str]:
    """Starts the echo server on a socket at `path`."""
    return [sys.executable, "-m", "tests.rig.echo_server", str(path)]


def daemon_command(config: Path) -> list[str]:
    """Starts the daemon with a config file."""
    return [sys.executable, "-m", "edged", "run", "--config", str(config)]


@contextlib.contextmanager
def served(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server from READY=1 on; SIGTERM ends it, and it must exit 0."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"{folder}/notify")
        notices.settimeout(START_S)
        env = {**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL)
        try:
            while b"READY=1" not in notices.recv(4096).splitlines():
                pass
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_S)
            assert code == 0, f"exit code {code}"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
