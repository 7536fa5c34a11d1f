from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from edged.tasks import Latest, OneThread, supervise


class Flaky:
    """A service that fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.starts = 0

    async def run(self) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise RuntimeError("broken")


def test_a_service_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    service = Flaky(3)
    asyncio.run(supervise("flaky", service.run, backoff_s=0))
    assert service.starts == 4
    assert caplog.text.count("service failed name=flaky") == 3


def test_a_service_that_keeps_failing_is_given_up_with_its_own_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Flaky(100)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(supervise("flaky", service.run, restarts=2, backoff_s=0))
    assert service.starts == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR, logging.CRITICAL]


def test_failures_long_ago_are_forgiven() -> None:
    service = Flaky(20)
    asyncio.run(supervise("flaky", service.run, restarts=2, window_s=0, backoff_s=0))
    assert service.starts == 21


def test_a_supervised_service_can_be_cancelled() -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def run() -> None:
            started.set()
            await asyncio.Event().wait()

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(supervise("still", run))
            await started.wait()
            task.cancel()
        assert task.cancelled()

    asyncio.run(scenario())


def test_everybody_waiting_hears_the_newest_value_once() -> None:
    async def scenario() -> None:
        latest = Latest(1)
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(latest.changed()) for _ in range(3)]
            await asyncio.sleep(0)
            latest.set(1)
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            latest.set(2)
            latest.set(3)
        assert [task.result() for task in waiting] == [3, 3, 3]
        assert latest.value == 3

    asyncio.run(scenario())


@pytest.fixture
def worker() -> Iterator[OneThread]:
    thread = OneThread("test")
    yield thread
    thread.close()


def test_jobs_run_in_order_on_one_thread_of_their_own(worker: OneThread) -> None:
    async def scenario() -> list[tuple[int, str]]:
        def job(number: int) -> tuple[int, str]:
            return number, threading.current_thread().name

        return list(await asyncio.gather(*(worker.run(job, number) for number in range(10))))

    assert asyncio.run(scenario()) == [(n, "test") for n in range(10)]


def test_what_a_job_raises_is_raised_to_whoever_awaits_it(worker: OneThread) -> None:
    async def scenario() -> None:
        await worker.run(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(scenario())


def test_a_job_cancelled_before_its_turn_never_runs(worker: OneThread) -> None:
    async def scenario() -> list[str]:
        ran: list[str] = []
        gate = threading.Event()
        first = worker.run(gate.wait)
        second = worker.run(ran.append, "second")
        third = worker.run(ran.append, "third")
        second.cancel()
        gate.set()
        await first
        await third
        return ran

    assert asyncio.run(scenario()) == ["third"]


def test_a_job_cancelled_while_it_runs_is_finished_and_forgotten(worker: OneThread) -> None:
    async def scenario() -> None:
        started, gate = threading.Event(), threading.Event()

        def job() -> None:
            started.set()
            gate.wait()

        future = worker.run(job)
        started.wait()
        future.cancel()
        gate.set()
        await worker.run(int)

    asyncio.run(scenario())
