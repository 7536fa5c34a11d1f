"""The units under a real systemd: every request goes through the socket, as a client's would."""

from __future__ import annotations

import base64
import json
import re
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.http_talk import HttpTalk, modern
from tests.rig.line_client import call
from tests.rig.systemd_box import Box, boot

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "systemd"
SOCKET = "run/edged/mcp.sock"


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """A machine with edged installed as the package installs it, except that it runs this interpreter."""
    python = Path(sys.base_prefix)
    packages = f"/opt/edged/lib/python3.{sys.version_info.minor}/site-packages"
    binds = {"/opt/edged/src": CHECKOUT, packages: Path(sysconfig.get_path("purelib"))}
    if python != Path("/usr"):  # a home directory's Python, which ProtectHome= would hide
        binds["/opt/edged/python"] = python
        python = Path("/opt/edged/python")
    interpreter = python / "bin" / f"python3.{sys.version_info.minor}"
    with boot(binds) as box:
        box.write(
            "/opt/edged/bin/edged",
            f'#!/bin/sh\nPYTHONPATH=/opt/edged/src:{packages} exec {interpreter} -m edged "$@"\n',
            mode=0o755,
        )
        (box.root / "opt/edged/bin/python").symlink_to(interpreter)
        box.write("/usr/lib/sysusers.d/edged.conf", (UNITS / "edged.sysusers").read_text())
        box.write("/usr/lib/tmpfiles.d/edged.conf", (UNITS / "edged.tmpfiles").read_text())
        for unit in ("edged.service", "edged.socket", "edged-http.socket", "edged-kernels.service"):
            box.write(f"/usr/lib/systemd/system/{unit}", (UNITS / unit).read_text())
        box.check("systemd-sysusers")
        box.check("systemd-tmpfiles", "--create", "edged.conf")
        box.write("/etc/edged/edged.toml", (UNITS / "edged.toml").read_text())
        box.write("/opt/edged/bin/probe", f"#!{interpreter}\n{PROBE}", mode=0o755)
        box.check("systemctl", "daemon-reload")
        yield box


@pytest.fixture
def box(machine: Box) -> Iterator[Box]:
    """That machine with the socket listening and the daemon not yet started."""
    machine.check("systemctl", "start", "edged.socket")
    yield machine
    machine.check("systemctl", "stop", "edged.socket", "edged.service")
    machine.check("systemctl", "revert", "edged.service")


def hears(box: Box) -> bool:
    """Whether the daemon answers a call that needs no model."""
    return "hi" in json.dumps(call(box.root / SOCKET, "echo", {"text": "hi"}))


def drop_in(box: Box, text: str, unit: str = "edged.service") -> None:
    box.write(f"/etc/systemd/system/{unit}.d/test.conf", f"[Service]\n{text}\n")
    box.check("systemctl", "daemon-reload")


def test_the_socket_alone_brings_the_daemon_and_it_answers(box: Box) -> None:
    assert box.property("edged.service", "ActiveState") == "inactive"
    assert hears(box)
    assert box.property("edged.service", "ActiveState") == "active"
    assert box.property("edged.service", "NRestarts") == "0"


def test_a_model_that_the_operator_installs_is_served_under_the_sandbox_and_after_a_kill(box: Box) -> None:
    edged, source = "/opt/edged/bin/edged", "/opt/edged/src/models"
    box.check(edged, "models", "add", f"{source}/digits", "--activate", "--socket", f"/{SOCKET}")
    picture = base64.b64encode((CHECKOUT / "models/demo/digit_7.png").read_bytes()).decode()
    for _ in range(2):
        found = call(box.root / SOCKET, "infer_digits", {"image": {"data": picture}})["structuredContent"]
        assert found["labels"][0]["label"] == "7"
        box.check("kill", "-KILL", box.property("edged.service", "MainPID"))


def test_a_killed_daemon_is_replaced_and_the_same_socket_answers(box: Box) -> None:
    assert hears(box)
    first = box.property("edged.service", "MainPID")
    box.check("kill", "-KILL", first)
    assert hears(box)
    assert box.property("edged.service", "MainPID") != first


def test_a_daemon_that_hangs_is_found_by_the_watchdog_and_replaced(box: Box) -> None:
    drop_in(box, "WatchdogSec=2s\nTimeoutAbortSec=1s")
    assert hears(box)
    first = box.property("edged.service", "MainPID")
    box.check("kill", "-STOP", first)
    assert hears(box)
    assert box.property("edged.service", "MainPID") != first
    assert "Watchdog timeout" in box.log("edged")


def test_a_reload_waits_for_the_daemon_and_keeps_it(box: Box) -> None:
    assert hears(box)
    first = box.property("edged.service", "MainPID")
    box.check("systemctl", "reload", "edged.service")
    assert hears(box)
    assert box.property("edged.service", "MainPID") == first
    assert box.property("edged.service", "ActiveState") == "active"


def test_a_stop_is_clean_and_leaves_the_socket_to_wake_the_daemon_again(box: Box) -> None:
    assert hears(box)
    box.check("systemctl", "stop", "edged.service")
    assert box.property("edged.service", "Result") == "success"
    assert box.property("edged.socket", "ActiveState") == "active"
    assert hears(box)


def test_the_http_socket_is_not_there_until_it_is_asked_for_and_then_wakes_the_daemon(box: Box) -> None:
    http = box.root / SOCKET.replace("mcp.sock", "http.sock")
    assert hears(box)
    assert not http.exists()
    box.check("systemctl", "stop", "edged.service")
    box.check("systemctl", "start", "edged-http.socket")
    try:
        with HttpTalk(http) as talk:
            assert talk.ask(modern("server/discover")).status == 200
        assert hears(box)
    finally:
        box.check("systemctl", "stop", "edged-http.socket", "edged.service")
    assert not http.exists()


def test_stopping_the_socket_removes_its_file(machine: Box) -> None:
    machine.check("systemctl", "start", "edged.socket")
    machine.check("systemctl", "stop", "edged.socket")
    assert not (machine.root / SOCKET).exists()


def test_a_daemon_that_cannot_start_keeps_its_clients_waiting_until_it_can(box: Box) -> None:
    config = box.root / "etc/edged/edged.toml"
    right = config.read_text()
    config.write_text("[paths\n")
    drop_in(box, "RestartSec=100ms")
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(box.root / SOCKET))
        box.check("bash", "-c", RESTARTS_TEN_TIMES)
        assert box.property("edged.socket", "ActiveState") == "active"
    config.write_text(right)
    assert hears(box)


# grep ends at the tenth match; the journal is read from here on.
RESTARTS_TEN_TIMES = (
    "journalctl --unit edged --follow --lines 0 --output cat | grep --max-count 10 'Scheduled restart' >&2"
)


def test_only_the_group_may_connect(box: Box) -> None:
    assert hears(box)
    found = (box.root / SOCKET).lstat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    box.check("useradd", "--system", "--groups", "edged", "member")
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('/{SOCKET}')"
    box.check("runuser", "-u", "member", "--", "/opt/edged/bin/python", "-c", connect)
    outsider = box.run("runuser", "-u", "nobody", "--", "/opt/edged/bin/python", "-c", connect)
    assert "PermissionError" in outsider.output


PROBE = """
import ctypes, errno, json, mmap, os, resource, socket, subprocess, sys, time

def adjtimex():
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")

def attempt(action):
    try:
        action()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return "done"

def limit_a_child():
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    subprocess.run([sys.executable, "-c", ""], preexec_fn=limit, check=True)

RWX = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
print(json.dumps({
    "limit a child": attempt(limit_a_child),
    "make a sealed file in memory": attempt(lambda: os.close(os.memfd_create("model", os.MFD_ALLOW_SEALING))),
    "map writable code": attempt(lambda: mmap.mmap(-1, 4096, prot=RWX)),
    "open a socket to a broker": attempt(lambda: socket.socket(socket.AF_INET).close()),
    "ask the kernel about its network": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "ask whether the clock is set": attempt(adjtimex),
    "set the clock": attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
    "write state": attempt(lambda: open("/var/lib/edged/probe", "w")),
    "write cache": attempt(lambda: open("/var/cache/edged/probe", "w")),
    "write where all may": attempt(lambda: open("/opt/everyone/probe", "w")),
    "look into homes": attempt(lambda: os.listdir("/home/everyone")),
    "renice itself": attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, 5)),
}))
"""


def test_the_sandbox_lets_the_daemon_do_its_work_and_nothing_else(box: Box) -> None:
    """A probe runs under the unit's own settings, in the daemon's place."""
    box.check("mkdir", "--mode", "777", "--parents", "/opt/everyone", "/home/everyone")
    drop_in(box, "ExecStart=\nExecStart=/opt/edged/bin/probe\nType=oneshot\nWatchdogSec=0\nRestart=no")
    box.check("systemctl", "start", "edged.service")
    assert json.loads(box.log("edged", "--identifier", "probe").splitlines()[-1]) == {
        "limit a child": "done",
        "make a sealed file in memory": "done",
        "map writable code": "EPERM",
        "open a socket to a broker": "done",
        "ask the kernel about its network": "EAFNOSUPPORT",
        "ask whether the clock is set": "done",
        "set the clock": "EPERM",
        "write state": "done",
        "write cache": "done",
        "write where all may": "EROFS",
        "look into homes": "EACCES",
        "renice itself": "EPERM",
    }


def test_the_kernels_compile_inside_their_own_sandbox(machine: Box) -> None:
    drop_in(
        machine, "CPUSchedulingPolicy=other\nNice=0", "edged-kernels.service"
    )  # other tests want the CPU too
    machine.check("systemctl", "start", "edged-kernels.service")
    assert machine.property("edged-kernels.service", "Result") == "success"
    asked = ("runuser", "-u", "edged", "--", "/opt/edged/bin/edged", "kernels", "status", "--json")
    found = json.loads(machine.check(*asked))
    assert found["kernels"] == "native", found["reason"]
    assert "/var/cache/edged/kernels" in found["reason"]


def test_the_units_verify_clean(machine: Box) -> None:
    units = [f"/usr/lib/systemd/system/{unit.name}" for unit in sorted(UNITS.glob("edged*.s*e*"))]
    assert (
        machine.check("systemd-analyze", "verify", "--man=no", *(u for u in units if "sysusers" not in u))
        == ""
    )


@pytest.mark.parametrize("unit", ["edged.service", "edged-kernels.service"])
def test_the_exposure_of_a_service_is_at_most_two(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=20", str(UNITS / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for \S+ ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= 2.0
