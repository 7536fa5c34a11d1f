"""A thousand who only listen and two hundred who all want something, on the real daemon's socket."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bench import procfs
from tests.rig.daemon import Daemon, running
from tests.rig.talk import AsyncTalk, request

IDLE = 1_000
IDLE_MAX_BYTES = 10_000
WARM_UP = 100  # connections before the first measurement: allocators take memory in steps
BUSY = 200
CALLS = 20_000
DEPTH = 4  # requests each of the busy keeps under way
UNFAIR = 3.0
DESCRIPTORS = IDLE + BUSY + WARM_UP + 200
SETTINGS = f"[unix]\npeers_max = {DESCRIPTORS}\nbacklog = 1024\n"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * DESCRIPTORS)), hard))
    try:
        with running(tmp_path_factory.mktemp("crowd"), SETTINGS) as daemon:
            yield daemon
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def listener(device: Daemon, stack: AsyncExitStack) -> AsyncTalk:
    """A host that has looked around, listens to changes, and says nothing more."""
    talk = await stack.enter_async_context(await AsyncTalk().connect(device.socket))
    await talk.send(request("server/discover"), request("tools/list", request_id=2))
    await talk.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "l"))
    answers = [await talk.take() for _ in range(3)]
    assert [answer.get("id") for answer in answers] == [1, 2, None]
    return talk


def descriptors(device: Daemon) -> int:
    """How many the daemon has open."""
    return len(os.listdir(f"/proc/{device.process.pid}/fd"))


def until_closed(device: Daemon, before: int) -> None:
    """Return once the daemon has let go of every connection but one that asks."""
    for _ in range(2_000):
        device.call("echo", text="x")
        if descriptors(device) <= before + 1:
            return
    raise AssertionError(f"{descriptors(device)} descriptors, {before} before")


class Caller:
    """One of the busy: as soon as an answer is there, it asks again, until all have asked enough."""

    def __init__(self, talk: AsyncTalk, left: list[int]) -> None:
        self.talk = talk
        self.answers = Counter[Any]()
        self.asked = 0
        self._left = left

    async def ask(self) -> None:
        """Ask once more, where any question is left."""
        if self._left[0] > 0:
            self._left[0] -= 1
            self.asked += 1
            call = {"name": "echo", "arguments": {"text": f"{self.asked}"}}
            await self.talk.send(request("tools/call", call, self.asked))

    async def run(self) -> None:
        """Ask and take until every question has its answer."""
        for _ in range(DEPTH):
            await self.ask()
        while self.answers.total() < self.asked:
            answer = await self.talk.take()
            assert answer["result"]["structuredContent"] == {"text": f"{answer['id']}"}
            self.answers[answer["id"]] += 1
            await self.ask()
            await asyncio.sleep(0)  # a socket that is ready would not let the other callers have their turn


def test_a_thousand_idle_hosts_cost_ten_kilobytes_each_and_leave_nothing(device: Daemon) -> None:
    async def scenario() -> float:
        async with AsyncExitStack() as stack:
            for _ in range(WARM_UP):
                await listener(device, stack)
            before = procfs.rss_bytes(device.process.pid)
            for _ in range(IDLE):
                await listener(device, stack)
            return (procfs.rss_bytes(device.process.pid) - before) / IDLE

    device.call("echo", text="x")
    before = descriptors(device)
    each = asyncio.run(scenario())
    print(f"{each:.0f} bytes a connection")
    assert each <= IDLE_MAX_BYTES
    until_closed(device, before)


def test_two_hundred_busy_hosts_get_every_answer_and_their_fair_share(device: Daemon) -> None:
    async def scenario() -> list[Caller]:
        async with AsyncExitStack() as stack:
            left = [CALLS]
            talks = [
                await stack.enter_async_context(await AsyncTalk().connect(device.socket)) for _ in range(BUSY)
            ]
            callers = [Caller(talk, left) for talk in talks]
            async with asyncio.TaskGroup() as tasks:
                for caller in callers:
                    tasks.create_task(caller.run())
            return callers

    device.call("echo", text="x")
    before = descriptors(device)
    callers = asyncio.run(scenario())
    assert sum(caller.answers.total() for caller in callers) == CALLS
    assert all(set(caller.answers.values()) == {1} for caller in callers)
    served = [caller.asked for caller in callers]
    print(f"between {min(served)} and {max(served)} of {CALLS} calls each")
    assert max(served) <= UNFAIR * min(served)
    until_closed(device, before)
    assert descriptors(device) <= before + 1
