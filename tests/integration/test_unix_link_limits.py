"""What the link does at its limits: an event loop in this process, so that each can be brought about exactly."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import resource
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from edged.links.config import UnixConfig
from edged.links.listening import bind
from edged.links.unix import UnixLink
from edged.links.unix_connection import Connection
from edged.mcp.access import Access
from edged.mcp.catalog import Call, Tier, Tool, ToolResult
from edged.mcp.config import AccessConfig, McpConfig
from edged.mcp.server import Server
from tests.rig.echo_server import Nothing, server
from tests.rig.talk import AsyncTalk, request


@asynccontextmanager
async def linked(
    path: Path,
    config: UnixConfig | None = None,
    limits: McpConfig | None = None,
    principals: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[UnixLink, Server]]:
    offered = server(limits)
    access = Access(AccessConfig(principals=principals or {}), os.getuid())
    link = UnixLink(path, offered, access, config or UnixConfig())
    link.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        try:
            async with asyncio.timeout(30):
                yield link, offered
        finally:
            link.close()
    assert (link.peers, path.exists()) == (0, False)  # noqa: ASYNC240 - nothing else runs any more


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    while not true():  # noqa: ASYNC110 - what is waited for has no event to set
        await asyncio.sleep(0)


def talk(path: Path) -> Awaitable[AsyncTalk]:
    return AsyncTalk().connect(path)


def test_one_peer_too_many_is_told_so_and_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        async with linked(path, UnixConfig(peers_max=2, reserved_peers=0)) as (link, _):
            async with await talk(path) as first, await talk(path) as second, await talk(path) as third:
                assert (await third.take())["error"]["message"] == "too many connections"
                assert await third.take() is None
                assert (await first.call("echo", {"text": "x"}))["id"] == 1
                assert (await second.call("echo", {"text": "x"}))["id"] == 1
            await until(lambda: not link.peers)
            async with await talk(path) as fourth:
                assert (await fourth.call("echo", {"text": "x"}))["id"] == 1

    run(scenario)


@pytest.mark.parametrize("operator", [True, False])
def test_the_last_places_are_for_operators(tmp_path: Path, operator: bool) -> None:  # noqa: FBT001 - a table
    principals = {} if operator else {f"uid:{os.getuid()}": "act"}

    async def scenario() -> None:
        path = tmp_path / "s"
        async with (
            linked(path, UnixConfig(peers_max=2, reserved_peers=1), principals=principals),
            await talk(path) as first,
            await talk(path) as second,
        ):
            assert "result" in await first.call("echo", {"text": "x"})
            assert ("result" in await second.call("echo", {"text": "x"})) is operator

    run(scenario)


def test_a_peer_that_does_not_read_what_its_calls_send_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def shout(call: Call, _arguments: Nothing) -> ToolResult:
        for n in itertools.count():
            call.log("info", "x" * 10_000, str(n))
            await asyncio.sleep(0)
        raise AssertionError

    async def scenario() -> None:
        path = tmp_path / "s"
        limits = McpConfig(write_buffer_max_bytes=65_536)
        async with linked(path, limits=limits) as (link, offered), await talk(path) as deaf:
            offered.catalog.put(
                Tool(name="shout", title="", description="", arguments=Nothing, handler=shout, tier=Tier.READ)
            )
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            }
            for method, params in (
                ("initialize", hello),
                ("logging/setLevel", {"level": "info"}),
                ("tools/call", {"name": "shout"}),
            ):
                message = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
                await deaf.send(json.dumps(message).encode())
            assert (await deaf.take())["id"] == "initialize"
            await until(lambda: not link.peers)

    run(scenario)
    assert "reason=does-not-read" in caplog.text


def test_a_listener_that_does_not_read_is_kept_and_later_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        async with linked(path) as (link, offered), await talk(path) as deaf:
            wanted = {"notifications": {"toolsListChanged": True}}
            await deaf.send(request("subscriptions/listen", wanted, "s" * 10_000))
            assert (await deaf.take())["method"] == "notifications/subscriptions/acknowledged"
            tool = offered.catalog.tools.get("echo")
            assert tool is not None
            (connection,) = link._connections
            assert isinstance(connection, Connection)
            told = 1  # what is held back is told once
            while not connection.congested:
                offered.catalog.put(tool)
                told += 1
            for _ in range(1000):
                offered.catalog.put(tool)
            for _ in range(told):
                assert (await deaf.take())["method"] == "notifications/tools/list_changed"
            assert (await deaf.call("echo", {"text": "x"}))["id"] == 1

    run(scenario)


@contextmanager
def answering_thread(offered: Server, bytes_each: int) -> Iterator[None]:
    """Offer `elsewhere`, whose calls a thread answers."""
    calls: SimpleQueue[tuple[Call, asyncio.Future[None]] | None] = SimpleQueue()
    loop = asyncio.get_running_loop()

    def elsewhere(call: Call, _arguments: Nothing) -> asyncio.Future[Any]:
        ended = loop.create_future()
        calls.put((call, ended))
        return ended

    def finish(ended: asyncio.Future[None]) -> None:
        if not ended.done():
            ended.set_result(None)

    def work() -> None:
        while (item := calls.get()) is not None:
            call, ended = item
            call.answer(ToolResult(structured={}, text="x" * bytes_each))()
            loop.call_soon_threadsafe(finish, ended)

    offered.catalog.put(
        Tool(
            name="elsewhere",
            title="Elsewhere",
            description="answered by a thread",
            arguments=Nothing,
            handler=elsewhere,
            tier=Tier.READ,
        )
    )
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        calls.put(None)
        thread.join()


def test_answers_of_a_thread_and_of_the_loop_keep_to_their_lines(tmp_path: Path) -> None:
    """Also where the peer reads so slowly that either has to wait in the middle of a message."""

    async def scenario() -> None:
        path = tmp_path / "s"
        async with linked(path) as (_, offered), await talk(path) as peer:
            with answering_thread(offered, 100_000):
                here = {"name": "echo", "arguments": {"text": "y" * 1000, "times": 50}}
                for _ in range(20):
                    texts = [
                        request("tools/call", {"name": "elsewhere", "arguments": {}} if i % 2 else here, i)
                        for i in range(10)
                    ]
                    await peer.send(*texts)
                    answers = [await peer.take() for _ in texts]
                    assert sorted(answer["id"] for answer in answers) == list(range(10))
                    assert all("result" in answer for answer in answers)

    run(scenario)


def test_a_peer_that_does_not_read_what_a_thread_answers_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        limits = McpConfig(write_buffer_max_bytes=65_536)
        async with linked(path, limits=limits) as (link, offered), await talk(path) as deaf:
            with answering_thread(offered, 300_000):
                asked = {"name": "elsewhere", "arguments": {}}
                await deaf.send(*(request("tools/call", asked, i) for i in range(8)))
                await until(lambda: bool(link.peers))
                await until(lambda: not link.peers)

    run(scenario)
    assert "reason=does-not-read" in caplog.text


def test_running_out_of_descriptors_pauses_accepting_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.links.listening._RETRY_ACCEPT_S", 0.01)

    async def scenario() -> None:
        path = tmp_path / "s"
        async with linked(path), await talk(path) as settled, AsyncTalk() as late:
            assert (await settled.call("echo", {"text": "x"}))["id"] == 1
            with descriptors_exhausted():
                await late.connect(path)
                await until(lambda: "accept paused reason=EMFILE" in caplog.text)
                assert (await settled.call("echo", {"text": "x"}))["id"] == 1
            assert (await late.call("echo", {"text": "x"}))["id"] == 1

    run(scenario)


@contextmanager
def descriptors_exhausted() -> Iterator[None]:
    """Have the process at its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    fillers = []
    try:
        with suppress(OSError):
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)


def test_stopping_waits_for_what_runs_and_then_no_longer(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        async with (
            linked(path, UnixConfig(grace_s=0.05)) as (link, _),
            await talk(path) as quick,
            await talk(path) as endless,
        ):
            await quick.send(request("tools/call", {"name": "count", "arguments": {"steps": 50}}))
            await endless.send(
                request("tools/call", {"name": "wait", "arguments": {}}), request("tools/list", {}, 2)
            )
            assert (await endless.take())["id"] == 2
            link.close()
            assert (await quick.take())["result"]["content"][0]["text"] == "counted"
            assert await endless.take() is None

    run(scenario)


def test_an_inherited_socket_is_served_and_its_file_left_to_its_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        link = UnixLink([bind(path, UnixConfig())], server(), Access(AccessConfig(), os.getuid()))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.run())
            async with await talk(path) as peer:
                assert (await peer.call("echo", {"text": "x"}))["id"] == 1
            link.close()
        assert path.is_socket()

    run(scenario)


def test_an_inherited_socket_survives_a_run_that_was_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        link = UnixLink([bind(path, UnixConfig())], server(), Access(AccessConfig(), os.getuid()))
        for last in (False, True):
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(link.run())
                async with await talk(path) as peer:
                    assert (await peer.call("echo", {"text": "x"}))["id"] == 1
                if last:
                    link.close()
                else:
                    task.cancel()

    run(scenario)


def test_a_link_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        link = UnixLink(path, server(), Access(AccessConfig(), os.getuid()))
        link.open()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(link.run())
            peer = await talk(path)
            await peer.send(request("tools/call", {"name": "wait", "arguments": {}}))
            assert (await peer.call("echo", {"text": "x"}))["error"]["code"] == -32600
            task.cancel()
        async with peer:
            assert await peer.take() is None
        assert link.peers == 0
        assert not path.exists()

    run(scenario)


def test_an_idle_connection_is_cheap(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        async with (
            linked(path, UnixConfig(peers_max=600, backlog=600)) as (link, _),
            AsyncExitStack() as stack,
        ):
            peers = [await stack.enter_async_context(await talk(path)) for _ in range(100)]
            for peer in peers:
                await peer.call("echo", {"text": "x"})
            gc.collect()
            tracemalloc.start()
            for _ in range(200):
                peer = await stack.enter_async_context(await talk(path))
                await peer.call("echo", {"text": "x" * 3000})
            gc.collect()
            ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/edged/*")])
            tracemalloc.stop()
            assert link.peers == 300
            assert sum(trace.size for trace in ours.traces) / 200 < 10_000

    run(scenario)
