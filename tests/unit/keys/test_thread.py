"""A backend that hangs: its callers go on without it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edged.errors import KeysUnavailable, Overloaded
from edged.keys.thread import WAITING_MAX, KeysThread

AT_ONCE_S = 0.001
IN_TIME_S = 60.0


def looped(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test on an event loop of its own."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def came_back(keys: KeysThread) -> None:
    while keys.hung:  # noqa: ASYNC110 - the thread tells the keys, and they tell nobody
        await asyncio.sleep(0)


@looped
async def test_it_gives_what_the_job_gives_or_raises() -> None:
    keys = KeysThread(IN_TIME_S)
    assert await keys.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await keys.run(divmod, 7, 0)
    await keys.close()


@looped
async def test_every_job_runs_on_one_thread_that_is_not_the_loops() -> None:
    keys = KeysThread(IN_TIME_S)
    threads = set(await asyncio.gather(*(keys.run(threading.get_ident) for _ in range(5))))
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    await keys.close()


@looped
async def test_a_job_that_hangs_fails_its_caller_and_everybody_behind_it() -> None:
    keys, gate = KeysThread(AT_ONCE_S), threading.Event()
    outcomes = await asyncio.gather(*(keys.run(gate.wait) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeysUnavailable] * 3
    assert keys.hung
    gate.set()
    await came_back(keys)
    await keys.close()


@looped
async def test_it_serves_again_when_the_job_has_come_back() -> None:
    keys, gate = KeysThread(AT_ONCE_S), threading.Event()
    with pytest.raises(KeysUnavailable, match="has not answered"):
        await keys.run(gate.wait)
    gate.set()
    await came_back(keys)
    keys._deadline_s = IN_TIME_S
    assert await keys.run(divmod, 7, 2) == (3, 1)
    await keys.close()


@looped
async def test_an_error_of_a_job_given_up_is_nobodys() -> None:
    keys, gate = KeysThread(AT_ONCE_S), threading.Event()

    def fail() -> None:
        gate.wait()
        raise ValueError("too late")

    with pytest.raises(KeysUnavailable):
        await keys.run(fail)
    gate.set()
    await came_back(keys)
    await keys.close()


@looped
async def test_the_job_of_a_cancelled_caller_ends_before_the_next_one_begins() -> None:
    keys, gate, order = KeysThread(IN_TIME_S), threading.Event(), list[str]()

    def slow() -> None:
        gate.wait()
        order.append("slow")

    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(keys.run(slow))
        await asyncio.sleep(0)
        caller.cancel()
        tasks.create_task(keys.run(order.append, "next"))
        await asyncio.wait([caller])
        gate.set()
    assert order == ["slow", "next"]
    await keys.close()


@looped
async def test_only_so_many_may_wait() -> None:
    keys, gate = KeysThread(IN_TIME_S), threading.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WAITING_MAX):
            tasks.create_task(keys.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await keys.run(gate.wait)
        gate.set()
    await keys.close()


@looped
async def test_closing_does_not_wait_for_a_job_that_hangs() -> None:
    keys, gate = KeysThread(AT_ONCE_S), threading.Event()
    with pytest.raises(KeysUnavailable):
        await keys.run(gate.wait)
    await keys.close()
    assert keys.hung
    gate.set()
    await came_back(keys)
    keys._thread.close()
