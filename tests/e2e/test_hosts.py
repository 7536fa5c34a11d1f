"""MCP hosts on the real daemon, through `edged stdio`: the official SDK's client and the Inspector."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from edged.data import folder
from tests.rig.daemon import Daemon

CHECKOUT = Path(__file__).parents[2]
INSPECTOR = CHECKOUT / ".venv" / "inspector" / "node_modules" / ".bin" / "mcp-inspector"
PICTURE = base64.b64encode((folder("models") / "demo" / "astronaut.jpg").read_bytes()).decode()
ERAS = ["legacy", "auto", "modern"]


def pump(device: Daemon) -> list[str]:
    return [sys.executable, "-m", "edged", "stdio", "--socket", str(device.socket)]


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_official_client_lists_the_models_and_finds_the_face(device: Daemon, mode: Any) -> None:
    async def scenario() -> None:
        program, *arguments = pump(device)
        parameters = StdioServerParameters(command=program, args=arguments, cwd=CHECKOUT)
        async with Client(parameters, mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"infer_face", "infer_okay_nabu", "device_status", "models_add"} <= names
            answer = await client.call_tool("infer_face", {"image": {"data": PICTURE}, "annotate": True})
            assert not answer.is_error
            assert answer.structured_content is not None
            assert answer.structured_content["objects"][0]["score"] > 0.85
            assert [block.type for block in answer.content] == ["text", "image"]
            wrong = await client.call_tool("infer_face", {"image": {"data": PICTURE}, "top_k": 0})
            assert wrong.is_error

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_lists_and_calls(device: Daemon, era: str) -> None:
    tools = inspect(device, era, "--method", "tools/list")["tools"]
    assert "infer_face" in {tool["name"] for tool in tools}
    said = inspect(device, era, "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello")
    assert said["structuredContent"] == {"text": "hello"}
    status = inspect(device, era, "--method", "tools/call", "--tool-name", "device_status")
    assert status["structuredContent"]["limits"]["reason"] == "unconstrained"


def inspect(device: Daemon, era: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(INSPECTOR), "--cli", *pump(device), "--protocol-era", era, *arguments],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=CHECKOUT,
        env={**os.environ, "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
