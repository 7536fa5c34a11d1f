"""What the real daemon offers beside tools: to the command line, to raw clients, to the official client."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from edged.data import folder
from tests.e2e.test_cli import edged
from tests.rig import daemon
from tests.rig.daemon import Daemon
from tests.rig.talk import Talk, request

CHECKOUT = Path(__file__).parents[2]
FACE = (folder("models") / "demo" / "astronaut.jpg").read_bytes()


def hints(tool: dict[str, Any]) -> tuple[bool, ...]:
    given = tool["annotations"]
    return tuple(given[f"{name}Hint"] for name in ("readOnly", "destructive", "idempotent", "openWorld"))


def documented_hints() -> dict[str, tuple[bool, ...]]:
    rows = re.findall(r"^\| `([a-z_<>]+)` \|.*\| (yes|no) \| (yes|no) \| (yes|no) \|$", _page(), re.MULTILINE)
    return {name: (*(word == "yes" for word in words), False) for name, *words in rows}


def _page() -> str:
    return (CHECKOUT / "docs" / "agents.md").read_text()


def told(talk: Talk) -> str:
    """The next resource that the device says has changed."""
    message = talk.take()
    assert message["method"] == "notifications/resources/updated"
    uri: str = message["params"]["uri"]
    return uri


def listen(talk: Talk, *uris: str) -> None:
    talk.send(request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, "listen"))
    assert talk.take()["method"] == "notifications/subscriptions/acknowledged"


def test_every_tool_gives_the_hints_that_are_documented(device: Daemon) -> None:
    documented = documented_hints()
    with device.client() as client:
        tools = client.list_tools()
    for tool in tools:
        kind = "infer_<sound>" if "audio" in tool["inputSchema"]["properties"] else "infer_<name>"
        name = kind if tool["name"].startswith("infer_") else tool["name"]
        assert hints(tool) == documented[name], name
    assert {tool["name"] for tool in tools} >= documented.keys() - {"infer_<name>", "infer_<sound>"}


def test_the_command_line_lists_what_can_be_read(device: Daemon) -> None:
    done = edged("resources", "ls", socket=device.socket)
    assert done.returncode == 0, done.stderr
    for uri in ("edged://device", "edged://models/face", "edged://models/{name}/labels", "edged://config"):
        assert uri in done.stdout
    found = json.loads(edged("resources", "ls", "--json", socket=device.socket).stdout)
    assert len(found["templates"]) == 2


def test_the_command_line_prints_a_resource_for_people_and_for_programs(device: Daemon) -> None:
    assert "heat.hottest" in edged("resources", "read", "edged://device", socket=device.socket).stdout
    done = edged("resources", "read", "edged://models/imagenet/labels", "--json", socket=device.socket)
    assert len(json.loads(done.stdout)["labels"]) == 1000


def test_a_resource_that_is_not_there_is_named_and_exits_with_1(device: Daemon) -> None:
    done = edged("resources", "read", "edged://models/fcae", socket=device.socket)
    assert (done.returncode, done.stdout) == (1, "")
    assert "face" in done.stderr


def test_the_command_line_prints_a_prompt_and_where_it_points(device: Daemon) -> None:
    assert "[model]" in edged("prompts", "ls", socket=device.socket).stdout
    done = edged(
        "prompts", "get", "try_model", "--arg", "model=digits", "--arg", "label=7", socket=device.socket
    )
    assert done.returncode == 0, done.stderr
    assert "Expect '7' first" in done.stdout
    assert "see edged://models/digits: " in done.stdout
    messages = json.loads(edged("prompts", "get", "diagnose_hot", "--json", socket=device.socket).stdout)
    assert [message["content"]["type"] for message in messages][:2] == ["text", "resource_link"]


@pytest.mark.parametrize("command", [["resources"], ["resources", "read"], ["prompts"], ["prompts", "get"]])
def test_the_commands_explain_themselves(command: list[str]) -> None:
    assert edged(*command, "--help").stdout.startswith("usage: edged")


def test_a_subscriber_to_the_figures_hears_of_an_answer(device: Daemon) -> None:
    with Talk(device.socket) as talk:
        listen(talk, "edged://metrics", "edged://models/face")
        device.call("infer_face", image={"data": FACE})
        heard = told(talk)
        while heard != "edged://models/face":
            heard = told(talk)
        assert heard == "edged://models/face"


def test_a_subscriber_to_a_model_hears_that_another_version_serves(tmp_path: Path, models: Path) -> None:
    with daemon.running(tmp_path / "home") as device, Talk(device.socket) as talk:
        listen(talk, "edged://models/digits")
        device.install(models / "digits")
        assert told(talk) == "edged://models/digits"


def test_the_running_config_says_what_waits_for_a_restart_and_who_asked_is_told(tmp_path: Path) -> None:
    with daemon.running(tmp_path / "home") as device, Talk(device.socket) as talk:
        listen(talk, "edged://config")
        text = device.config.read_text() + '[inference]\nqueue_max = 3\n[log]\nlevel = "debug"\n'
        device.config.write_text(text)
        device.process.send_signal(signal.SIGHUP)
        assert told(talk) == "edged://config"
        talk.send(request("resources/read", {"uri": "edged://config"}, "read"))
        held = json.loads(talk.until("read")[-1]["result"]["contents"][0]["text"])
        assert held["waiting"] == ["inference"]
        assert held["config"]["log"]["level"] == "debug"
        assert held["config"]["inference"]["queue_max"] == 64


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_the_official_client_reads_completes_and_gets_prompts(device: Daemon, mode: Any) -> None:
    async def scenario() -> None:
        pump = ["-m", "edged", "stdio", "--socket", str(device.socket)]
        parameters = StdioServerParameters(command=sys.executable, args=pump, cwd=CHECKOUT)
        async with Client(parameters, mode=mode) as client:
            uris = {str(resource.uri) for resource in (await client.list_resources()).resources}
            assert {"edged://device", "edged://metrics", "edged://config", "edged://models/face"} <= uris
            (held,) = (await client.read_resource("edged://models/face")).contents
            assert json.loads(held.text)["tool"] == "infer_face"  # type: ignore[union-attr] # it is text
            prompt = await client.get_prompt("diagnose_slow", {"model": "face"})
            assert prompt.messages[1].content.type == "resource_link"

    asyncio.run(asyncio.wait_for(scenario(), 60))
