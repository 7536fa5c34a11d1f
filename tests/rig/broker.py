"""A real mosquitto on loopback or a Unix socket, with its own config and directory, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

START_S = 20.0
STOP_S = 10.0
COMMON = "set_tcp_nodelay true\nlog_dest stderr\nlog_type all\nconnection_messages true\n"


def program() -> str:
    """Where mosquitto is; Debian keeps it out of a user's path."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, "mosquitto is not installed: apt-get install mosquitto"
    return found


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Broker:
    """Runs on `conf`, in which `{port}`, `{home}` stand for what they are; `start` again after `stop` or `kill`."""

    def __init__(self, home: Path, conf: str, port: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.port = port
        self._conf = home / "mosquitto.conf"
        own = f"user {os.environ.get('USER', 'root') if os.getuid() else 'root'}\n"
        self._conf.write_text(own + COMMON + conf.replace("{port}", str(port)).replace("{home}", str(home)))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it said, over all its starts."""
        return (self.home / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Return when it serves."""
        said = len(self.log) if (self.home / "log").exists() else 0
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "-c", str(self._conf)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + START_S
        while " running" not in self.log[said:]:
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"mosquitto did not start:\n{self.log}")
            time.sleep(0.005)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It stops answering, while the kernel still takes what it is sent."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def reload(self) -> None:
        """Read the access rules again."""
        os.kill(self.pid, signal.SIGHUP)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        self._process = None


class OpenBroker(Broker):
    """Anybody may do anything, on a loopback port; `extra` are further settings."""

    def __init__(self, home: Path, extra: str = "", port: int | None = None) -> None:
        conf = f"persistence false\n{extra}\nlistener {{port}} 127.0.0.1\nallow_anonymous true\n"
        super().__init__(home, conf, port or free_port())

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(*brokers: Broker) -> Iterator[Sequence[Broker]]:
    """Start them all, and end what is left of them."""
    try:
        for broker in brokers:
            broker.start()
        yield brokers
    finally:
        for broker in brokers:
            broker.stop()
