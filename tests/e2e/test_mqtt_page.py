"""docs/mqtt.md, done: its certificates and the shipped broker, its config and the real daemon, its commands line by line."""

from __future__ import annotations

import json
import queue
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.main import main
from edged.links.mqtt.client import discover
from edged.links.mqtt.config import MqttConfig
from tests.e2e.test_agents_page import differences
from tests.rig import daemon
from tests.rig.broker import Broker, running
from tests.rig.shipped import lay_out

PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text()
PATIENCE_S = 60


def blocks(kind: str, heading: str = "") -> list[str]:
    part = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0] if heading else PAGE
    return re.findall(rf"```{kind}\n(.*?)```", part, re.DOTALL)


class Site:
    """A folder as the page leaves it, its broker and its device."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (script,) = blocks("sh")
        script = script.replace("DNS:broker.lan", "DNS:broker.lan,IP:127.0.0.1")
        subprocess.run(["sh", "-eu"], input=script, cwd=home, check=True, capture_output=True, text=True)
        self.ports = lay_out(home, {name: home / name for name in CERTIFICATES})
        self.broker = Broker(home, "include_dir {home}/conf.d\n", self.ports.admin)

    @property
    def settings(self) -> str:
        (shown,) = blocks("toml")
        return shown.replace("broker.lan:8883", f"127.0.0.1:{self.ports.device}").replace(
            "/etc/edged", str(self.home)
        )

    def here(self, command: str) -> str:
        """A command of the page, for this broker."""
        command = command.replace("-h broker.lan -p 8884", f"-h 127.0.0.1 -p {self.ports.client}")
        return command.replace("broker.lan:8884", f"127.0.0.1:{self.ports.client}")


CERTIFICATES = ("devices-ca.crt", "clients-ca.crt", "broker.crt", "broker.key")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    with running(made.broker), daemon.running(made.home / "device", made.settings) as device:
        agent = MqttConfig(
            brokers=(f"mqtts://127.0.0.1:{made.ports.client}",),
            ca=f"{made.home}/broker-ca.crt",
            cert=f"{made.home}/agent-7.crt",
            key=f"{made.home}/agent-7.key",
        )
        while not discover(agent, "agent-7"):
            assert device.process.poll() is None, device.log
        yield made


class Listener:
    """The page's first terminal."""

    def __init__(self, site: Site, command: str) -> None:
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        assignment, _, rest = command.partition("\n")
        self.process = subprocess.Popen(
            ["sh", "-c", f"{assignment}\nexec {rest}"], stdout=subprocess.PIPE, cwd=site.home, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def hear(self) -> Any:
        return json.loads(self._said.get(timeout=PATIENCE_S))

    def end(self) -> None:
        self.process.terminate()
        self._thread.join()
        self.process.wait(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as said:
            for line in said:
                self._said.put(line)


def test_the_session_on_the_page_is_one_that_device_and_broker_hold(site: Site) -> None:
    listening, *asking = blocks("console", "A session")
    assignment, command, *shown = listening.splitlines()
    listener = Listener(site, site.here(f"{assignment.removeprefix('$ ')}\n{command.removeprefix('$ ')}"))
    try:
        for line in shown:
            assert differences(json.loads(line), listener.hear()) == []
        for line in "\n".join(asking).splitlines():
            if line.startswith("$ "):
                said = subprocess.run(
                    ["sh", "-c", site.here(f"{assignment.removeprefix('$ ')}\n{line.removeprefix('$ ')}")],
                    cwd=site.home, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
                )  # fmt: skip
            elif line.startswith("{"):
                assert differences(json.loads(line), listener.hear()) == []
            else:
                assert line in said.stdout + said.stderr
    finally:
        listener.end()


def test_the_commands_on_the_page_find_and_call_the_device(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.home)
    (shown,) = [block for block in blocks("") if "edged discover" in block]
    find, call = shown.splitlines()
    assert main(shlex.split(site.here(find))[1:]) == 0
    found = capsys.readouterr().out
    assert "dev-42" in found
    assert "edged/vision" in found
    credentials = find.partition("--ca")[2]
    call = call.replace(
        "infer_digits --image digit.png --ca …", f"echo --arg text=hello --json --ca{credentials}"
    )
    assert main(shlex.split(site.here(call))[1:]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "hello"}


def test_the_bridge_on_the_page_is_one_that_a_host_can_start(site: Site) -> None:
    (shown,) = blocks("json")
    given = json.loads(site.here(shown).replace("/etc/edged", str(site.home)))["mcpServers"]["dev-42"]
    assert given["command"] == "edged"
    line = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "edged", *given["args"]], input=json.dumps(line) + "\n",
        capture_output=True, text=True, check=True, timeout=PATIENCE_S, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "edged"
