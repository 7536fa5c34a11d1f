"""Hosts that only speak stdio: the official SDK's client through the pump, in both eras."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.subscriptions import ToolsListChanged

from tests.rig.served import ROOT, echo_command, served
from tests.rig.talk import request

ERAS = ["legacy", "auto", "2026-07-28"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "mcp.sock"
    with served(echo_command(path)):
        yield path


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "edged.links.stdio", str(path)]


def host(path: Path, mode: Any) -> Client:
    program, *arguments = command(path)
    return Client(StdioServerParameters(command=program, args=arguments, cwd=ROOT), mode=mode)


@pytest.mark.parametrize("mode", ERAS)
def test_the_official_client_lists_and_calls(path: Path, mode: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def scenario() -> None:
        async with host(path, mode) as client:
            assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == sorted(names)
            assert "echo" in names
            answer = await client.call_tool("echo", {"text": "hello"})
            assert answer.structured_content == {"text": "hello"}
            assert not answer.is_error
            assert (await client.call_tool("echo", {"text": "x", "times": 0})).is_error
            assert (await client.call_tool("paint", {})).content[1].type == "image"
            await client.call_tool("count", {"steps": 3}, progress_callback=on_progress)
            with pytest.raises(MCPError, match="unknown tool"):
                await client.call_tool("nonsense", {})
            with pytest.raises(MCPError, match="internal error"):
                await client.call_tool("fail", {})

    asyncio.run(scenario())
    assert heard == [(1, 3, "counting"), (2, 3, "counting"), (3, 3, "counting")]


def test_the_official_client_hears_that_tools_changed(tmp_path: Path) -> None:
    async def scenario(path: Path) -> None:
        async with (
            host(path, "auto") as client,
            asyncio.timeout(20),
            client.listen(tools_list_changed=True) as events,
        ):
            await client.call_tool("remove", {"text": "paint"})
            async for event in events:
                assert isinstance(event, ToolsListChanged)
                break

    with served(echo_command(tmp_path / "s")):
        asyncio.run(scenario(tmp_path / "s"))


def test_a_call_given_up_by_the_official_client_is_cancelled(path: Path) -> None:
    async def scenario() -> None:
        async with host(path, "legacy") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.call_tool("wait", {})
            while (await client.call_tool("waiting", {})).structured_content != {"text": "0"}:
                pass

    asyncio.run(scenario())


def test_everything_due_is_answered_after_the_end_of_input(path: Path) -> None:
    lines = b"".join(request("tools/call", {"name": "count", "arguments": {}}, n) + b"\n" for n in range(20))
    done = subprocess.run(command(path), input=lines, capture_output=True, check=False, timeout=30, cwd=ROOT)
    assert done.returncode == 0
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == set(range(20))


def test_where_nobody_listens_the_pump_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "nobody"), input=b"", capture_output=True, check=False, timeout=30, cwd=ROOT
    )
    assert done.returncode == 69
    assert done.stderr.startswith(b"edged: cannot reach the daemon at")


def test_when_the_daemon_goes_away_the_pump_ends_and_says_so(tmp_path: Path) -> None:
    with served(echo_command(tmp_path / "s")) as server:
        pump = subprocess.Popen(
            command(tmp_path / "s"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert pump.stdin is not None
        assert pump.stdout is not None
        pump.stdin.write(request("tools/list") + b"\n")
        pump.stdin.flush()
        assert json.loads(pump.stdout.readline())["id"] == 1
        server.terminate()
        assert server.wait(20) == 0
        assert pump.wait(20) == 69
        _, complaint = pump.communicate()
        assert b"closed the connection" in complaint


def test_a_host_that_stops_reading_ends_the_pump_quietly(path: Path) -> None:
    with subprocess.Popen(
        command(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as pump:
        assert pump.stdin is not None
        assert pump.stdout is not None
        assert pump.stderr is not None
        pump.stdout.close()
        pump.stdin.write(request("tools/list") + b"\n")
        pump.stdin.flush()
        assert pump.wait(20) == 0
        assert pump.stderr.read() == b""
        pump.stdin.close()


def test_a_frame_passes_the_pump_whole_both_ways(path: Path) -> None:
    lines = request("tools/call", {"name": "echo", "arguments": {"text": "x" * 65_536, "times": 100}}) + b"\n"
    done = subprocess.run(
        command(path), input=lines * 3, capture_output=True, check=False, timeout=30, cwd=ROOT
    )
    assert [
        len(json.loads(line)["result"]["structuredContent"]["text"]) for line in done.stdout.splitlines()
    ] == [6_553_600] * 3


def test_the_pump_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edged.links.stdio import pump; "
        "print(sorted(set(sys.modules) & {'asyncio', 'msgspec', 'json', 'argparse', 'logging', 'edged.mcp', 'typing'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == b"[]"
