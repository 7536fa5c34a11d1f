"""The package that was just built, on a machine of this distribution that has a real systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.line_client import call
from tests.rig.systemd_box import Box, boot

BUILD = Path(__file__).parents[1] / "build"


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    with boot({"/packages": BUILD}) as box:
        box.check(
            "rm", "-f", "/usr/sbin/policy-rc.d"
        )  # a container image's way to keep services from starting
        newest = max(BUILD.glob("edged_*.deb"), key=lambda path: path.stat().st_mtime)
        box.check("dpkg", "--install", f"/packages/{newest.name}")
        yield box


def test_an_install_leaves_the_daemon_running_and_answering(machine: Box) -> None:
    assert machine.property("edged.socket", "ActiveState") == "active"
    assert machine.property("edged.service", "ActiveState") == "active"
    assert "hi" in json.dumps(call(machine.root / "run/edged/mcp.sock", "echo", {"text": "hi"}))
    assert (
        machine.check("systemctl", "is-enabled", "edged.socket", "edged.service").split() == ["enabled"] * 2
    )


def test_the_files_are_those_of_the_package(machine: Box) -> None:
    assert machine.check("dpkg", "--verify", "edged") == ""
    assert machine.check("stat", "-c", "%a %U:%G", "/etc/edged/edged.toml").strip() == "640 root:edged"
    assert machine.check("find", "/opt/edged", "-not", "-user", "root") == ""


def test_the_venv_runs_without_a_trace_of_where_it_was_built(machine: Box) -> None:
    imports = "import edged, ai_edge_litert.interpreter, numpy, PIL, msgspec, psutil, simplejpeg; print(edged.__file__)"
    assert machine.check("/opt/edged/bin/python", "-c", imports).startswith("/opt/edged/lib/")
    assert machine.run("grep", "-rlI", "edged-deb-", "/opt/edged").output == ""


def test_the_daemon_runs_the_kernels_of_the_package(machine: Box) -> None:
    found = json.loads(machine.check("runuser", "-u", "edged", "--", "edged", "kernels", "status", "--json"))
    assert found["kernels"] == "native", found["reason"]


def test_a_daemon_of_the_package_is_replaced_when_it_is_killed(machine: Box) -> None:
    machine.check("kill", "-KILL", machine.property("edged.service", "MainPID"))
    assert "hi" in json.dumps(call(machine.root / "run/edged/mcp.sock", "echo", {"text": "hi"}))


def test_a_reinstall_keeps_the_administrator_s_config(machine: Box) -> None:
    machine.check("sed", "-i", 's/level = "info"/level = "warning"/', "/etc/edged/edged.toml")
    (package,) = machine.check("sh", "-c", "ls -t /packages/edged_*.deb | head -n 1").split()
    machine.check("dpkg", "--install", "--force-confdef", package)
    assert 'level = "warning"' in machine.check("cat", "/etc/edged/edged.toml")
    assert machine.property("edged.service", "ActiveState") == "active"


def test_a_purge_removes_units_state_and_config(machine: Box) -> None:
    machine.check("touch", "/var/lib/edged/kept")
    machine.check("dpkg", "--remove", "edged")
    assert machine.property("edged.socket", "ActiveState") == "inactive"
    assert (machine.root / "var/lib/edged/kept").exists()
    machine.check("dpkg", "--purge", "edged")
    for path in ("var/lib/edged", "var/cache/edged", "etc/edged", "opt/edged", "usr/bin/edged"):
        assert not (machine.root / path).exists(), path
    assert machine.property("edged.socket", "LoadState") == "not-found"
