"""The real daemon as a process on private paths, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.cli.call import checked
from edged.cli.models import INSTALL_TIMEOUT_S, package
from edged.errors import Unreachable
from edged.links.unix_client import UnixClient

START_S = 20.0
STOP_S = 20.0


@dataclass
class Daemon:
    """A running daemon; `home` holds its config, state, socket and log."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.home / "edged.toml"

    @property
    def socket(self) -> Path:
        return self.home / "run" / "mcp.sock"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def client(self) -> UnixClient:
        return UnixClient(self.socket)

    def install(self, folder: Path) -> None:
        """Install and serve the model in a folder."""
        with self.client() as device:
            given = {**package(device, folder), "activate": True}
            checked(device.call_tool("models_add", given, timeout_s=INSTALL_TIMEOUT_S))

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured answer, or raise what the device answered."""
        with self.client() as device:
            return checked(device.call_tool(tool, arguments))

    def wait(self) -> None:
        """Return when the socket answers."""
        until = time.monotonic() + START_S
        while True:
            with contextlib.suppress(Unreachable), self.client():
                return
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the daemon did not start:\n{self.log}")
            time.sleep(0.01)

    def stop(self) -> int:
        """End it as systemd would; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def start(self) -> None:
        """Start (again) on the same paths."""
        self.process = spawn(self.home)
        self.wait()


@contextlib.contextmanager
def running(home: Path, settings: str = "", cache: Path | None = None) -> Iterator[Daemon]:
    """Run a daemon in `home` with further config `settings`; it must end with exit code 0."""
    write_config(home, settings, cache)
    daemon = Daemon(home, spawn(home))
    try:
        daemon.wait()
        yield daemon
        assert daemon.stop() == 0, daemon.log
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


def write_config(home: Path, settings: str = "", cache: Path | None = None) -> None:
    """Make `home` and the config in it: private paths, and further `settings`.

    The machine's own heat and memory do not govern, unless the settings say what does.
    """
    home.mkdir(parents=True, exist_ok=True)
    settings += "" if "[power]" in settings else "\n[power]\ngovern = false\n"
    paths = f'[paths]\nstate = "{home}/state"\ncache = "{cache or home / "cache"}"\nrun = "{home}/run"\n'
    (home / "edged.toml").write_text(paths + settings)


def spawn(home: Path) -> subprocess.Popen[bytes]:
    """Start `edged run` on the config in `home`, its standard error appended to `home/log`."""
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edged", "run", "--config", str(home / "edged.toml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
