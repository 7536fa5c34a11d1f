"""The `edged` command as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edged.data import folder
from tests.rig import daemon
from tests.rig.daemon import Daemon

DEMO = folder("models") / "demo"
CHECKOUT = Path(__file__).parents[2]


def edged(
    *arguments: str, socket: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120"}
    if socket:
        environment["EDGED_SOCKET"] = str(socket)
    done = subprocess.run(
        [sys.executable, "-m", "edged", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=CHECKOUT,
        env=environment,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_call_prints_the_answer_as_a_table_and_saves_the_picture(device: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "face.png"
    done = edged(
        "call", "infer_face", "--image", str(DEMO / "astronaut.jpg"), "--save", str(out), socket=device.socket
    )
    assert done.returncode == 0, done.stderr
    assert "1 face: 0.9" in done.stdout
    assert "label" in done.stdout
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_call_with_json_prints_only_json(device: Daemon) -> None:
    done = edged("call", "infer_face", "--image", str(DEMO / "astronaut.jpg"), "--json", socket=device.socket)
    answer = json.loads(done.stdout)
    assert answer["objects"][0]["score"] > 0.85
    assert set(answer["ran"]["stages"]) == {
        "queue_ms",
        "decode_ms",
        "preprocess_ms",
        "invoke_ms",
        "postprocess_ms",
    }


def test_call_without_a_tool_lists_them(device: Daemon) -> None:
    done = edged("call", "--json", socket=device.socket)
    names = {tool["name"] for tool in json.loads(done.stdout)}
    assert {"device_status", "echo", "infer_face", "models_add", "models_list"} <= names


def test_arguments_are_given_as_json_or_text(device: Daemon) -> None:
    done = edged("call", "echo", "--arg", "text=hello there", socket=device.socket)
    assert done.returncode == 0
    assert "hello there" in done.stdout


def test_a_refused_call_says_why_and_exits_with_1(device: Daemon) -> None:
    done = edged("call", "infer_face", "--arg", 'image={"data": "AAAA"}', socket=device.socket)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("edged: ")
    assert "decode" in done.stderr or "not" in done.stderr


def test_status_shows_limits_models_and_what_runs_them(device: Daemon) -> None:
    done = edged("status", "--json", socket=device.socket)
    status = json.loads(done.stdout)
    assert status["limits"]["reason"] == "unconstrained"
    assert status["engine"]["runtime"].startswith("ai-edge-litert")
    assert "face" in {model["name"] for model in status["models"]}
    assert "face" in edged("status", socket=device.socket).stdout


def test_an_absent_daemon_is_named_with_its_socket(tmp_path: Path) -> None:
    done = edged("status", socket=tmp_path / "mcp.sock")
    assert done.returncode == 1
    assert f"cannot reach the daemon at {tmp_path}/mcp.sock" in done.stderr


def test_check_config_names_every_problem_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_text('[paths]\nstate = "here"\n[inference]\nqueue_max = -1\n')
    done = edged("check-config", str(file))
    assert done.returncode == 2
    assert f"{file}: line 2: paths.state: " in done.stdout
    assert f"{file}: line 4: inference.queue_max: expected `int` >= 1" in done.stdout
    found = json.loads(edged("check-config", str(file), "--json").stdout)
    assert [(p["path"], p["line"]) for p in found["problems"]] == [
        ("paths.state", 2),
        ("inference.queue_max", 4),
    ]
    assert edged("run", "--config", str(file)).returncode == 2


def test_the_printed_defaults_are_a_right_config(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(edged("check-config", "--defaults").stdout)
    assert edged("check-config", str(file)).returncode == 0


def test_models_are_added_served_rolled_back_and_removed(tmp_path: Path, models: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    for file in (models / "face").iterdir():
        (second / file.name).write_bytes(file.read_bytes())
    manifest = second / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('version = "1"', 'version = "2"'))
    with daemon.running(tmp_path / "home") as device:

        def run(*arguments: str) -> str:
            done = edged("models", *arguments, socket=device.socket)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "no models installed" in run("ls")
        assert run("add", str(models / "face"), "--activate") == "face 1: active\n"
        assert run("add", str(second)) == "face 2: ready\n"
        assert run("activate", "face", "2") == "face 2: active\n"
        assert (
            device.call("infer_face", image={"data": (DEMO / "astronaut.jpg").read_bytes()})["ran"]["version"]
            == "2"
        )
        assert run("rollback", "face") == "face 1: active\n"
        assert (
            device.call("infer_face", image={"data": (DEMO / "astronaut.jpg").read_bytes()})["ran"]["version"]
            == "1"
        )
        assert "Apache-2.0" in run("show", "face")
        refused = edged("models", "rm", "face", "1", socket=device.socket)
        assert refused.returncode == 1
        assert "active" in refused.stderr
        assert run("rm", "face", "2") == "face 2: removed\n"
        assert run("rm", "face") == "face (every version): removed\n"
        assert json.loads(run("ls", "--json")) == {"models": []}


def test_what_was_served_is_served_again_after_a_kill(tmp_path: Path, models: Path) -> None:
    with daemon.running(tmp_path / "home") as device:
        device.install(models / "face")
        device.kill()
        device.start()
        found = device.call("infer_face", image={"data": (DEMO / "astronaut.jpg").read_bytes()})
        assert found["objects"][0]["score"] > 0.85


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with daemon.running(tmp_path / "home") as device:
        done = edged("run", "--config", str(device.config))
        assert done.returncode == 1
        assert "another edged uses" in done.stderr


@pytest.mark.parametrize(
    "command", [[], ["models"], ["call"], ["run"], ["check-config"], ["kernels"], ["stdio"]]
)
def test_every_command_explains_itself(command: list[str]) -> None:
    done = edged(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: edged")


def test_the_pump_carries_bytes_and_imports_nothing_heavy(device: Daemon) -> None:
    request = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    done = edged("stdio", socket=device.socket, stdin=request)
    assert json.loads(done.stdout)["result"] == {}
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edged", "stdio", "--socket", "/nowhere"],
        capture_output=True,
        check=False,
        cwd=CHECKOUT,
    ).stderr.decode()
    assert not [
        name for name in ("asyncio", "msgspec", "numpy", "rich", "edged.mcp") if f" {name}\n" in loaded
    ]
