"""A real systemd as PID 1, on an overlay of this machine's own root: up within a second, leaving no trace.

Needs root, util-linux and systemd; nothing is downloaded, and nothing on the machine is changed.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ALONE = ("unshare", "--mount", "--propagation", "private", str(Path(__file__).with_suffix(".sh")))
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 110.0


class Done(NamedTuple):
    """A command that ran in the box; `output` is both of its streams."""

    code: int
    output: str


class Box:
    """A booted box; `root` is its root directory seen from here; its sockets can be reached there."""

    def __init__(self, init_pid: int) -> None:
        self._pid = init_pid
        self.root = Path(f"/proc/{init_pid}/root")

    def run(self, *command: str, stdin: str = "") -> Done:
        """Run a command as the box's root."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._pid), "--all", "--", "env", "-i", PATH, *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def check(self, *command: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        done = self.run(*command, stdin=stdin)
        assert done.code == 0, f"{' '.join(command)}: exit {done.code}\n{done.output}"
        return done.output

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the box."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def log(self, unit: str, *options: str) -> str:
        """What the journal has of a unit, messages only."""
        self.check("journalctl", "--sync")
        return self.check("journalctl", "--unit", unit, "--output", "cat", *options)

    def property(self, unit: str, name: str) -> str:
        """One property of a unit, as `systemctl show` prints it."""
        return self.check("systemctl", "show", unit, "--property", name, "--value").strip()


@contextmanager
def boot(binds: Mapping[str, Path]) -> Iterator[Box]:
    """A box with folders of this machine mounted at the given paths; its power is cut at the end."""
    assert os.geteuid() == 0, "a real systemd needs root for its namespaces and mounts: sudo ./dev test"
    with tempfile.TemporaryDirectory(prefix="systemd-box-") as folder:
        name = Path(folder).name.removeprefix("systemd-box-")
        console = Path(folder) / "console"
        notify = Path(folder) / "host"
        notify.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, console.open("wb") as output:
            ready.bind(str(notify / "notify"))
            outer = subprocess.Popen(
                [*ALONE, "boot", name, str(notify), *(f"{host}:{at}" for at, host in binds.items())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                _await_ready(ready, outer, console)
                ready.close()  # systemd goes on notifying, and would block for good on a full queue
                yield Box(_only_child(outer.pid))
            finally:
                outer.kill()  # and with it, by --kill-child, everything in the box
                outer.wait()
                subprocess.run([*ALONE, "clean", name], check=True)


def _await_ready(ready: socket.socket, outer: subprocess.Popen[bytes], console: Path) -> None:
    """Return when systemd has reached its target; AssertionError with the console where it does not."""
    ended = os.pidfd_open(outer.pid)
    try:
        while True:
            readable, _, _ = select.select([ready.fileno(), ended], [], [], BOOT_TIMEOUT_S)
            if ready.fileno() not in readable:
                raise AssertionError(f"the box did not boot:\n{console.read_text(errors='replace')}")
            if b"READY=1" in ready.recv(4096).split(b"\n"):
                return
    finally:
        os.close(ended)


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
