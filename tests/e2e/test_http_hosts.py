"""MCP hosts on the real daemon's HTTP socket: the official SDK's client, and the Inspector through a TCP pump."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

from tests.rig.conformance import everything
from tests.rig.http_pump import pumped

CHECKOUT = Path(__file__).parents[2]
INSPECTOR = CHECKOUT / ".venv" / "inspector" / "node_modules" / ".bin" / "mcp-inspector"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with everything(tmp_path_factory.mktemp("device")) as path:
        yield path


async def answer(context: object, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_official_client_uses_all_that_is_offered(path: Path, mode: Any) -> None:
    async def scenario() -> None:
        wire = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)))
        steps: list[float] = []

        async def step(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        async with (
            wire,
            Client(
                streamable_http_client("http://localhost/mcp", http_client=wire),
                mode=mode,
                elicitation_callback=answer,
            ) as client,
        ):
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"device_status", "models_list", "test_simple_text"} <= names
            status = await client.call_tool("device_status", {})
            assert status.structured_content is not None
            counted = await client.call_tool("test_tool_with_progress", {}, progress_callback=step)
            assert not counted.is_error
            assert steps == [0, 50, 100]
            greeted = await client.call_tool("test_input_required_result_elicitation", {})
            assert greeted.content[0].model_dump()["text"] == "Hello, Ada!"
            read = await client.read_resource("test://template/7/data")
            assert json.loads(read.contents[0].model_dump()["text"])["id"] == "7"
            wrong = await client.call_tool("greet", {"nam": "x"})
            assert wrong.is_error

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("era", ["legacy", "auto", "modern"])
def test_the_inspector_lists_and_calls(path: Path, era: str) -> None:
    async def scenario() -> None:
        async with pumped(path) as port:
            tools = await inspect(port, era, "--method", "tools/list")
            assert "greet" in {tool["name"] for tool in tools["tools"]}
            greet = ("--tool-name", "greet", "--tool-arg", "name=Ada")
            said = await inspect(port, era, "--method", "tools/call", *greet)
            assert said["content"][0]["text"] == "Hello, Ada!"

    asyncio.run(asyncio.wait_for(scenario(), 90))


async def inspect(port: int, era: str, *arguments: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/mcp"
    process = await asyncio.create_subprocess_exec(
        INSPECTOR,
        *("--cli", url, "--transport", "http", "--protocol-era", era, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
        cwd=CHECKOUT,
        env={**os.environ, "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}"},
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    answer: dict[str, Any] = json.loads(said)
    return answer
