"""SIGHUP: what a running daemon takes over, and what it refuses."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.rig import daemon
from tests.rig.daemon import Daemon

PATIENCE_S = 10.0


def reload(device: Daemon, settings: str, until: str) -> str:
    """Change the settings, send SIGHUP, and give what the log says once it holds `until`."""
    paths = device.config.read_text().split("[access]")[0]
    device.config.write_text(paths + settings)
    before = len(device.log)
    device.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_S
    while until not in (said := device.log[before:]):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    return said


def tools(device: Daemon) -> set[str]:
    """What a new connection is offered."""
    with device.client() as client:
        return {tool["name"] for tool in client.list_tools()}


def test_a_reload_takes_over_who_may_do_what(tmp_path: Path) -> None:
    with daemon.running(tmp_path) as device:
        assert "models_add" in tools(device)
        said = reload(device, '[access]\nprincipals = { "uid:0" = "read" }\n', "reloaded")
        assert "changed=access" in said
        assert "models_add" not in tools(device)


def test_a_wrong_config_changes_nothing_and_is_named(tmp_path: Path) -> None:
    with daemon.running(tmp_path) as device:
        said = reload(device, '[access]\nprincipals = { "uid:0" = "king" }\n', "reload refused")
        assert "edged.toml: line 9: access.principals.uid:0: " in said
        assert "models_add" in tools(device)


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    with daemon.running(tmp_path) as device:
        said = reload(device, "[access]\n[inference]\nqueue_max = 3\n", "restart to apply")
        assert "restart to apply: inference" in said
