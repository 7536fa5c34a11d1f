"""The daemon's slow work: installs, batches and self-tests, as tasks and simply awaited."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from edged.data import folder
from tests.rig import daemon
from tests.rig.daemon import Daemon
from tests.rig.desk import envelope
from tests.rig.talk import Talk

PATIENCE_S = 60.0
WITH_TASKS = envelope({"extensions": {"io.modelcontextprotocol/tasks": {}}})
FACE = (folder("models") / "demo" / "astronaut.jpg").read_bytes()
PICTURE = {"image": {"data": base64.b64encode(FACE).decode()}}


def ask(talk: Talk, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result of a request that declares the tasks extension."""
    message = {"jsonrpc": "2.0", "id": "ask", "method": method, "params": {**params, "_meta": WITH_TASKS}}
    talk.send(json.dumps(message).encode())
    result: dict[str, Any] = talk.until("ask")[-1]["result"]
    return result


def begin(talk: Talk, tool: str, arguments: dict[str, Any]) -> str:
    """The task that a call of this tool becomes."""
    task = ask(talk, "tools/call", {"name": tool, "arguments": arguments})
    assert task["resultType"] == "task"
    task_id: str = task["taskId"]
    return task_id


def outcome(talk: Talk, task_id: str) -> dict[str, Any]:
    """The task, once it has ended."""
    until = time.monotonic() + PATIENCE_S
    while (task := ask(talk, "tasks/get", {"taskId": task_id}))["status"] == "working":
        assert time.monotonic() < until, task
        time.sleep(0.05)
    return task


def test_a_batch_answers_each_input_as_a_single_call_would(device: Daemon) -> None:
    single = device.call("infer_face", **PICTURE)
    items = [
        PICTURE,
        {"image": {"data": base64.b64encode(b"no picture").decode()}},
        {**PICTURE, "threshold": 0.99},
    ]
    batch = device.call("batch_infer", model="face", items=items)
    assert (batch["answered"], batch["failed"]) == (2, 1)
    first, second, third = batch["items"]
    assert first["answer"]["objects"] == single["objects"]
    assert second["error"]["error"] == "BadPicture"
    assert third["answer"]["objects"] == []


def test_a_batch_is_checked_before_any_of_it_runs(device: Daemon) -> None:
    with Talk(device.socket) as talk:
        items = [PICTURE, {"image": {}}]
        wrong = talk.call("batch_infer", {"model": "face", "items": items})
        assert wrong["isError"] is True
        assert wrong["structuredContent"]["message"].startswith("$.items[1].image: ")
        streamed = talk.call(
            "batch_infer", {"model": "okay_nabu", "items": [{"audio": {"data": ""}, "stream": "s"}]}
        )
        assert streamed["structuredContent"]["message"].startswith("$.items[0].stream: ")
        unknown = talk.call("batch_infer", {"model": "nobody", "items": [{}]})
        assert "those that do: " in unknown["structuredContent"]["message"]


def test_who_knows_tasks_gets_one_and_its_result_survives_the_daemon(tmp_path: Path, models: Path) -> None:
    with daemon.running(tmp_path) as device:
        device.install(models / "digits")
        with Talk(device.socket) as talk:
            task_id = begin(talk, "self_test", {})
            done = outcome(talk, task_id)
        assert done["status"] == "completed"
        assert done["result"]["structuredContent"]["passed"] is True
        device.kill()
        device.start()
        with Talk(device.socket) as talk:
            assert outcome(talk, task_id)["result"] == done["result"]


def test_a_model_is_installed_as_a_task(tmp_path: Path, models: Path) -> None:
    source = models / "digits"
    files = [
        {"name": file.name, "data": base64.b64encode(file.read_bytes()).decode()}
        for file in sorted(source.iterdir())
        if file.name != "manifest.toml"
    ]
    named = (source / "manifest.toml").read_text()
    with daemon.running(tmp_path) as device, Talk(device.socket) as talk:
        wanted = [file for file in files if f'"{file["name"]}"' in named]
        done = outcome(
            talk, begin(talk, "models_add", {"manifest": named, "files": wanted, "activate": True})
        )
        assert done["result"]["structuredContent"]["state"] == "active"


def test_a_self_test_names_the_model_whose_file_rotted(tmp_path: Path, models: Path) -> None:
    with daemon.running(tmp_path) as device:
        device.install(models / "digits")
        assert device.call("self_test")["passed"] is True
        (file,) = (tmp_path / "state" / "models" / "digits").rglob("digits_int8.tflite")
        file.chmod(0o600)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        found = device.call("self_test", model="digits")
        assert found["passed"] is False
        assert "damaged" in found["checks"][1]["detail"]
