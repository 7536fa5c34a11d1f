"""Jobs that become tasks, as a client sees them, on the real store; and what a restart leaves of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.jobs import Jobs, JobsConfig
from edged.mcp.catalog import Catalog, Job, Principal, Tier, Tool, ToolResult, Work
from edged.mcp.server import Server
from edged.mcp.session import Session
from edged.mcp.tasks import Desk, Outcome
from edged.tasks import OneThread
from tests.rig.desk import envelope
from tests.rig.offered import FULL_INFO, Nothing, full_catalog, said

TASKS: dict[str, Any] = {"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
NAME = {"action": "accept", "content": {"name": "Ada"}}


class Wire:
    """Keeps what a session writes, and lets a test wait for it."""

    congested = False

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    def write_from_thread(self, message: bytes) -> None:
        self.write(message)

    def write(self, message: bytes) -> None:
        self.messages.put_nowait(json.loads(message))

    def take_descriptor(self) -> int | None:
        return None

    def settled(self) -> None:
        pass


class Peer:
    """A client on a session of its own."""

    def __init__(self, server: Server, group: asyncio.TaskGroup, name: str = "uid:1000") -> None:
        self.wire = Wire()
        self.session = Session(server, Principal(name, (), Tier.ACT), self.wire, group)
        self.last_id = 0

    def send(self, method: str, params: dict[str, Any], capabilities: dict[str, Any] | None = None) -> int:
        self.last_id += 1
        members = {**params, "_meta": envelope(TASKS if capabilities is None else capabilities)}
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": members}
        self.session.receive(json.dumps(message).encode())
        return self.last_id

    async def ask(
        self, method: str, params: dict[str, Any], capabilities: dict[str, Any] | None = None
    ) -> Any:
        request_id = self.send(method, params, capabilities)
        message = await self.wire.messages.get()
        assert message["id"] == request_id
        return message

    async def call(self, name: str, **arguments: Any) -> Any:
        return (await self.ask("tools/call", {"name": name, "arguments": arguments}))["result"]

    async def task(self, task_id: str) -> Any:
        return (await self.ask("tasks/get", {"taskId": task_id}))["result"]

    async def until(self, task_id: str, status: str) -> Any:
        while (task := await self.task(task_id))["status"] != status:
            assert task["status"] in ("working", "input_required")
            await asyncio.sleep(0)
        return task


class House:
    """A server with its jobs, and a clock of the test's own."""

    def __init__(self, path: Path, config: JobsConfig | None = None) -> None:
        self.now_s = 1_800_000_000.0
        self.catalog: Catalog = full_catalog()
        self.thread = OneThread("test-jobs")
        self.jobs = Jobs(path, self.thread, lambda: self.now_s, config)
        self.server = Server(self.catalog, FULL_INFO, tasks=self.jobs)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Peer]:
        try:
            async with self.jobs, asyncio.TaskGroup() as group:
                self.group = group
                peer = Peer(self.server, group)
                yield peer
                peer.session.close()
        finally:
            self.thread.close()

    def offer(self, name: str, run: Callable[[Work], Awaitable[ToolResult]]) -> None:
        self.catalog.put(
            Tool(
                name=name,
                title="",
                description="",
                arguments=Nothing,
                handler=lambda _c, _a: Job(run),
                tier=Tier.READ,
            )
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "jobs.sqlite")


async def for_ever(_work: Work) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_job_is_a_task_for_who_declares_them_and_its_result_is_kept(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            begun = await peer.call("job")
            assert begun["resultType"] == "task"
            assert begun.keys() == {
                "resultType",
                "_meta",
                "taskId",
                "status",
                "statusMessage",
                "createdAt",
                "lastUpdatedAt",
                "ttlMs",
                "pollIntervalMs",
            }
            assert (begun["status"], begun["statusMessage"]) == ("working", "begun")
            assert begun["createdAt"] == "2027-01-15T08:00:00.000Z"
            assert (begun["ttlMs"], begun["pollIntervalMs"]) == (1000, 10)
            task = await peer.until(begun["taskId"], "completed")
            assert task["resultType"] == "complete"
            assert task["result"]["content"][0]["text"] == "done for uid:1000"
            assert task["statusMessage"] == "half (1 of 2)"
            assert "error" not in task

    asyncio.run(scenario())


def test_others_wait_for_the_result_unless_the_tool_is_only_done_as_a_task(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            answer = await peer.ask("tools/call", {"name": "job"}, {})
            assert answer["result"]["resultType"] == "complete"
            assert answer["result"]["content"][0]["text"] == "done for uid:1000"
            refused = await peer.ask("tools/call", {"name": "only_task"}, {})
            assert refused["error"]["code"] == -32021
            assert (await peer.call("only_task"))["resultType"] == "task"
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                refused = await peer.ask(method, {"taskId": "x", "inputResponses": {}}, {})
                assert refused["error"]["code"] == -32021

    asyncio.run(scenario())


@pytest.mark.parametrize(("n", "status"), [(1, "completed"), (2, "failed")])
def test_a_tools_own_failure_is_a_result_and_an_accident_is_an_error_without_its_details(
    house: House, n: int, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> Any:
        async with house.open() as peer:
            return await peer.until((await peer.call("job", n=n))["taskId"], status)

    task = asyncio.run(scenario())
    if n == 1:
        assert task["result"]["isError"] is True
        assert task["result"]["structuredContent"]["error"] == "NotReady"
    else:
        assert task["error"] == {"code": -32603, "message": "internal error"}
        assert "secret" in caplog.text
    assert ("result" in task) is (n == 1)


def test_a_task_that_asks_waits_for_every_answer_and_shows_those_still_missing(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            task_id = (await peer.call("asking_job"))["taskId"]
            asked = await peer.until(task_id, "input_required")
            assert asked["inputRequests"].keys() == {"a", "b"}
            assert asked["inputRequests"]["a"]["method"] == "elicitation/create"
            answers = {"a": NAME, "nonsense": 5}
            done = await peer.ask("tasks/update", {"taskId": task_id, "inputResponses": answers})
            assert done["result"].keys() == {"resultType", "_meta"}
            assert (await peer.task(task_id))["inputRequests"].keys() == {"b"}
            await peer.ask("tasks/update", {"taskId": task_id, "inputResponses": {"b": NAME, "a": {}}})
            task = await peer.until(task_id, "completed")
            assert task["result"]["content"][0]["text"] == "AdaAda"

    asyncio.run(scenario())


def test_a_cancelled_task_ends_as_cancelled_and_may_be_cancelled_again(house: House) -> None:
    house.offer("for_ever", for_ever)

    async def scenario() -> None:
        async with house.open() as peer:
            task_id = (await peer.call("for_ever"))["taskId"]
            for _ in range(2):
                done = await peer.ask("tasks/cancel", {"taskId": task_id})
                assert done["result"]["resultType"] == "complete"
            task = await peer.until(task_id, "cancelled")
            assert task.keys() & {"result", "error", "inputRequests"} == set()
            await peer.ask("tasks/cancel", {"taskId": task_id})
            assert (await peer.task(task_id))["status"] == "cancelled"

    asyncio.run(scenario())


def test_a_task_cancelled_before_its_first_step_never_runs(house: House) -> None:
    async def perform(_desk: Desk) -> Outcome:
        raise AssertionError

    async def scenario() -> None:
        async with house.open() as peer:
            owner = peer.session.principal
            task = await house.jobs.begin(owner, Job(for_ever), perform)
            assert house.jobs.cancel(owner, task.task_id)
            await peer.until(task.task_id, "cancelled")

    asyncio.run(scenario())


def test_a_task_outlives_the_connection_and_is_its_principals_alone(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            task_id = (await peer.call("asking_job"))["taskId"]
            peer.session.close()
            again = Peer(house.server, house.group)
            stranger = Peer(house.server, house.group, "uid:1001")
            assert (await again.until(task_id, "input_required"))["taskId"] == task_id
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                refused = await stranger.ask(method, {"taskId": task_id, "inputResponses": {"a": NAME}})
                assert refused["error"]["code"] == -32602
            unknown = await again.ask("tasks/get", {"taskId": "nonsense"})
            assert unknown["error"]["code"] == -32602
            await again.ask("tasks/cancel", {"taskId": task_id})
            await again.until(task_id, "cancelled")

    asyncio.run(scenario())


def test_who_listens_to_a_task_is_told_all_of_it(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            task_id = (await peer.call("asking_job"))["taskId"]
            await peer.until(task_id, "input_required")
            listener = Peer(house.server, house.group)
            stranger = Peer(house.server, house.group, "uid:1001")
            for other, ids in ((listener, [task_id]), (stranger, None)):
                other.send("subscriptions/listen", {"notifications": {"taskIds": [task_id, "nonsense"]}})
                granted = (await other.wire.messages.get())["params"]["notifications"]
                assert granted.get("taskIds") == ids
            await peer.ask("tasks/update", {"taskId": task_id, "inputResponses": {"a": NAME, "b": NAME}})
            told = await listener.wire.messages.get()
            assert told["method"] == "notifications/tasks"
            assert told["params"]["status"] == "completed"
            assert told["params"]["result"]["content"][0]["text"] == "AdaAda"
            assert told["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}
            assert stranger.wire.messages.empty()

    asyncio.run(scenario())


def test_an_outcome_is_kept_for_its_time_after_the_end_and_no_longer(house: House) -> None:
    async def scenario() -> None:
        async with house.open() as peer:
            task_id = (await peer.call("asking_job"))["taskId"]
            await peer.until(task_id, "input_required")
            house.now_s += 7_200  # longer than it is kept, but it has not ended
            await peer.ask("tasks/update", {"taskId": task_id, "inputResponses": {"a": NAME, "b": NAME}})
            task = await peer.until(task_id, "completed")
            assert task["ttlMs"] == 7_200_000 + 3_600_000
            house.now_s += 3_599
            assert (await peer.task(task_id))["status"] == "completed"
            house.now_s += 2
            gone = await peer.ask("tasks/get", {"taskId": task_id})
            assert gone["error"]["code"] == -32602
            await peer.call("job")
            assert task_id not in house.jobs._records

    asyncio.run(scenario())


def test_tasks_are_bounded_by_those_running_and_those_kept(tmp_path: Path) -> None:
    house = House(tmp_path / "jobs.sqlite", JobsConfig(running_max=2, kept_max=4, kept_per_peer_max=3))
    house.offer("for_ever", for_ever)

    async def scenario() -> None:
        async with house.open() as peer:
            begun = [(await peer.call("for_ever"))["taskId"] for _ in range(2)]
            refused = await peer.call("for_ever")
            assert refused["structuredContent"]["error"] == "Overloaded"
            for task_id in begun:
                await peer.ask("tasks/cancel", {"taskId": task_id})
                await peer.until(task_id, "cancelled")
            await peer.until((await peer.call("job"))["taskId"], "completed")
            assert (await peer.call("job"))["isError"] is True
            other = Peer(house.server, house.group, "uid:1001")
            assert (await other.call("job"))["resultType"] == "task"
            assert (await other.call("job"))["isError"] is True

    asyncio.run(scenario())


def test_a_result_too_large_to_keep_fails_the_task(tmp_path: Path) -> None:
    house = House(tmp_path / "jobs.sqlite", JobsConfig(outcome_max_bytes=65_536))

    async def bulky(_work: Work) -> ToolResult:
        return said("x" * 100_000)

    house.offer("bulky", bulky)

    async def scenario() -> None:
        async with house.open() as peer:
            task = await peer.until((await peer.call("bulky"))["taskId"], "failed")
            assert "more than are kept" in task["error"]["message"]

    asyncio.run(scenario())


def test_a_task_that_cannot_be_written_is_not_announced(tmp_path: Path) -> None:
    house = House(tmp_path / "jobs.sqlite")

    async def scenario() -> None:
        async with house.open() as peer:
            await house.thread.run(house.jobs._table.close)
            refused = await peer.call("job")
            assert refused["isError"] is True
            assert refused["structuredContent"]["error"] == "StorageError"
            assert house.jobs._records == {}

    asyncio.run(scenario())


def test_after_an_orderly_end_a_running_task_says_it_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"

    async def first() -> list[str]:
        house = House(path)
        house.offer("for_ever", for_ever)
        async with house.open() as peer:
            done = (await peer.call("job"))["taskId"]
            await peer.until(done, "completed")
            return [done, (await peer.call("for_ever"))["taskId"]]

    async def second(done: str, running: str) -> None:
        async with House(path).open() as peer:
            assert (await peer.task(done))["result"]["content"][0]["text"] == "done for uid:1000"
            task = await peer.task(running)
            assert task["status"] == "failed"
            assert task["error"]["data"] == {"reason": "interrupted"}

    asyncio.run(second(*asyncio.run(first())))


def test_after_a_kill_so_does_every_task_that_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from tests.integration.test_jobs import House, for_ever

        async def main():
            house = House(Path(sys.argv[1]))
            house.offer("for_ever", for_ever)
            async with house.open() as peer:
                for _ in range(3):
                    print((await peer.call("for_ever"))["taskId"], flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        announced = [child.stdout.readline().strip() for _ in range(3)]
        os.kill(child.pid, signal.SIGKILL)

    async def look() -> None:
        async with House(path).open() as peer:
            for task_id in announced:
                assert (await peer.task(task_id))["error"]["data"] == {"reason": "interrupted"}

    asyncio.run(look())
