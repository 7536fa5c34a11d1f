"""A software TPM of the test's own: on a Unix socket, with its own state, started in a few milliseconds.

The sockets are opened here and handed to swtpm, so they can be connected to before it runs: nothing is waited for.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path


class Swtpm:
    """Power it with `start` and `stop`, cut its power with `kill`, make it hang with `freeze`."""

    def __init__(self, startup: str = "startup-clear") -> None:
        # short, for a Unix socket's path: the TCTI appends ".ctrl"
        self._folder = Path(tempfile.mkdtemp(prefix="tpm"))
        self.state = self._folder / "state"
        self.state.mkdir(mode=0o700)
        self.path = self._folder / "s"
        self.startup = startup
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        """How the TSS reaches it."""
        return f"swtpm:path={self.path}"

    @property
    def pid(self) -> int:
        """Of the running swtpm."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Swtpm:
        """Power on, with the state that was left."""
        data, control = _listening(self.path), _listening(Path(f"{self.path}.ctrl"))
        command = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            "swtpm",
            "socket",
            "--tpm2",
        ]  # not left behind by a crash
        command += ["--tpmstate", f"dir={self.state},mode=0600"]
        command += ["--server", f"type=unixio,fd={data.fileno()}"]
        command += ["--ctrl", f"type=unixio,fd={control.fileno()}"]
        command += ["--flags", f"not-need-init,{self.startup}", "--log", f"file={self._folder}/log"]
        with data, control:
            self._process = subprocess.Popen(
                command, pass_fds=(data.fileno(), control.fileno()), stdin=subprocess.DEVNULL
            )
        return self

    def stop(self) -> None:
        """Power off in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Cut the power."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """A power cut, and power again."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Put another TPM in its place; it is running afterwards."""
        self.kill()
        for path in self.state.iterdir():
            path.unlink()
        self.start()

    def freeze(self) -> None:
        """It answers nothing until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Swtpm:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)
    return listening
