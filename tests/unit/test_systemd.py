from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def test_outside_systemd_every_call_is_a_quiet_no_op(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
    assert not systemd.ready("serving")
    assert not systemd.watchdog()
    assert systemd.watchdog_interval_s() is None
    assert systemd.listen_fds() == {}


def test_ready_carries_its_status(manager: socket.socket) -> None:
    assert systemd.ready("2 models")
    assert manager.recv(4096) == b"READY=1\nSTATUS=2 models"


def test_stopping_watchdog_and_status_are_one_assignment_each(manager: socket.socket) -> None:
    systemd.stopping()
    systemd.watchdog()
    systemd.status("idle")
    assert [manager.recv(4096) for _ in range(3)] == [b"STOPPING=1", b"WATCHDOG=1", b"STATUS=idle"]


def test_reloading_is_stamped_with_the_monotonic_clock(manager: socket.socket) -> None:
    systemd.reloading()
    first, _, stamp = manager.recv(4096).decode().partition("\n")
    assert first == "RELOADING=1"
    assert stamp.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_a_status_cannot_smuggle_in_another_assignment(manager: socket.socket) -> None:
    systemd.status("loading\nMAINPID=1")
    assert manager.recv(4096) == b"STATUS=loading MAINPID=1"


def test_an_abstract_notify_address_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0edged-test-" + str(os.getpid()))
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edged-test-{os.getpid()}")
        assert systemd.ready()
        assert receiver.recv(4096) == b"READY=1"


def test_a_manager_that_is_gone_does_not_hurt_the_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not systemd.ready()


@pytest.mark.parametrize(
    ("variables", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_this_process_s_own(
    variables: dict[str, str], interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval_s() == interval_s


ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from edged import systemd
for name, sockets in systemd.listen_fds().items():
    print(name, [(s.getsockname(), s.get_inheritable()) for s in sockets])
print("LISTEN_FDS" in os.environ, systemd.listen_fds())
"""


def activate(sockets: list[socket.socket], names: str, script: str = ACTIVATED) -> list[str]:
    """Run the script with the sockets as descriptors 3, 4 … in the way systemd passes them."""
    high = [os.dup2(listener.fileno(), 100 + index) for index, listener in enumerate(sockets)]
    command = "".join(f"exec {3 + index}<&{fd} {fd}<&-; " for index, fd in enumerate(high))
    try:
        done = subprocess.run(
            ["bash", "-c", command + 'exec "$0" -c "$1"', sys.executable, script],
            env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names, "PYTHONPATH": "."},
            pass_fds=high,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        for fd in high:
            os.close(fd)
    return done.stdout.splitlines()


def test_passed_sockets_are_found_by_name_once_and_not_inherited(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mcp, socket.socket(socket.AF_UNIX) as other:
        mcp.bind(str(tmp_path / "mcp.sock"))
        other.bind(str(tmp_path / "other.sock"))
        assert activate([mcp, other], "mcp:other") == [
            f"mcp [('{tmp_path}/mcp.sock', False)]",
            f"other [('{tmp_path}/other.sock', False)]",
            "False {}",
        ]


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.listen_fds() == {}
    assert "LISTEN_FDS" not in os.environ


def test_every_line_of_a_record_carries_its_priority() -> None:
    record = logging.LogRecord("edged.links", logging.WARNING, __file__, 1, "one\ntwo", None, None)
    assert systemd.JournalFormatter().format(record) == "<4>edged.links: one\n<4>two"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_levels_become_syslog_priorities(level: int, priority: int) -> None:
    record = logging.LogRecord("edged", level, __file__, 1, "text", None, None)
    assert systemd.JournalFormatter().format(record) == f"<{priority}>edged: text"


def test_the_journal_is_recognised_by_device_and_inode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert systemd.journal_attached(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not systemd.journal_attached(stream)
