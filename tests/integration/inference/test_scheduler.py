"""Admission, order, deadlines, memory, versions and streams, with real interpreters on real threads."""

from __future__ import annotations

import asyncio
import gc
from asyncio import Future
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edged.errors import (
    BadArgument,
    BadModel,
    DeadlineExceeded,
    NotFound,
    NotReady,
    Overloaded,
    StorageError,
    Throttled,
    TooLarge,
)
from edged.inference.config import InferenceConfig
from edged.inference.manifest import VectorInput
from edged.inference.models.library import Library
from edged.inference.request import Pcm
from edged.inference.runtime import OVERHEAD_BYTES
from edged.inference.values import Answer, Labels
from edged.inference.worker import Worker
from edged.limits import Limits
from tests.rig import room, weights
from tests.rig.room import Room, scenario


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Library:
    shelf = room.library(tmp_path_factory.mktemp("library"))
    room.install_linear(shelf, variants=("f32", "int8"))
    room.install_linear(shelf, "other")
    room.install_linear(shelf, "large", weights=[[0.0] * 512] * 2)
    room.install(shelf, weights.fetched() / "okay_nabu")
    return shelf


async def queued(here: Room, count: int) -> None:
    """Let a task that was just made submit its call; so many are in the daemon then."""
    await asyncio.sleep(0)
    assert here.scheduler.status().in_hand == count


async def order_of(here: Room, asked: list[tuple[str, int]]) -> list[str]:
    """Who was answered in which order, after all of them waited together."""
    answered: list[str] = []

    async def call(name: str, priority: int) -> None:
        await here.ask(peer=name[0], priority=priority)
        answered.append(name)

    await here.ask()
    async with asyncio.TaskGroup() as group:
        with here.held():
            for index, (name, priority) in enumerate(asked):
                group.create_task(call(name, priority))
                await queued(here, index + 1)
    return answered


def tallied(here: Room, name: str, model: str = "tiny") -> int:
    return here.scheduler.status().outcomes[model].get(name, 0)


@scenario()
async def test_higher_priority_runs_first_and_peers_take_turns(here: Room) -> None:
    asked = [("a1", 5), ("a2", 5), ("a3", 5), ("b1", 5), ("c1", 9), ("b2", 5), ("d1", 0)]
    assert await order_of(here, asked) == ["c1", "a1", "b1", "a2", "b2", "a3", "d1"]


@scenario(queue_max=4)
async def test_a_full_queue_refuses_with_the_time_to_come_back(here: Room) -> None:
    await here.ask()
    async with asyncio.TaskGroup() as group:
        with here.held():
            for count in range(1, 5):
                group.create_task(here.ask())
                await queued(here, count)
            with pytest.raises(Overloaded, match="4 calls wait for tiny") as caught:
                await here.ask()
            assert 0.0 < caught.value.retry_after_s < 5.0
    assert tallied(here, "Overloaded") == 1
    assert tallied(here, "answered") == 5


@scenario(queue_max=3)
async def test_a_peer_that_floods_the_queue_gives_way_to_another(here: Room) -> None:
    await here.ask()
    with here.held():
        flood = [asyncio.get_running_loop().create_task(here.ask(peer="flood")) for _ in range(3)]
        await queued(here, 3)
        modest = asyncio.get_running_loop().create_task(here.ask(peer="modest"))
        with pytest.raises(Overloaded):
            await flood[-1]
    assert isinstance(await modest, Answer)
    assert all(isinstance(answer, Answer) for answer in await asyncio.gather(*flood[:-1]))


@scenario()
async def test_a_call_past_its_deadline_is_not_run(here: Room) -> None:
    await here.ask()
    with pytest.raises(DeadlineExceeded, match="past its deadline"):
        await here.ask(deadline_s=0.0)
    assert tallied(here, "DeadlineExceeded") == 1


@scenario()
async def test_a_cancelled_call_leaves_the_queue_and_nothing_runs_for_it(here: Room) -> None:
    await here.ask()
    with here.held():
        doomed = asyncio.get_running_loop().create_task(here.ask())
        await queued(here, 1)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        assert here.scheduler.status().in_hand == 0
    await here.ask()
    assert tallied(here, "answered") == 2
    assert tallied(here, "cancelled") == 1


@scenario()
async def test_a_call_cancelled_while_it_runs_ends_unobserved(here: Room) -> None:
    await here.ask()
    doomed = asyncio.get_running_loop().create_task(here.ask())
    await queued(here, 1)
    worker = next(iter(here.scheduler._shelf.workers.values()))
    while worker.queued:  # until the thread has taken it
        pass
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    while here.scheduler.status().in_hand:
        await here.scheduler.changed()
    assert isinstance(await here.ask(), Answer)


@scenario()
async def test_limits_decide_from_the_next_call_on(here: Room) -> None:
    await here.ask()
    here.limits.value = Limits(priority_floor=6, reason="battery at 9 %")
    with pytest.raises(Throttled, match="battery at 9 %"):
        await here.ask()
    assert (await here.ask(priority=6)).limits == "battery at 9 %"
    here.limits.value = Limits(rate_hz=0.01)
    await here.ask()
    with pytest.raises(Throttled) as caught:
        await here.ask()
    assert 50.0 < caught.value.retry_after_s <= 100.0
    here.limits.value = Limits(variant_floor=1)
    assert (await here.ask()).variant == "int8"
    with pytest.raises(Throttled, match="too dear"):
        await here.ask(variant="f32")
    here.limits.value = Limits()
    assert (await here.ask()).variant == "f32"
    assert (await here.ask(variant="int8")).variant == "int8"


@scenario()
async def test_the_cpu_time_of_calls_is_spent_by_priority_and_what_did_not_run_is_given_back(
    here: Room,
) -> None:
    await here.ask()
    here.limits.value = Limits(duty=1e-5, reason="shaped")
    await here.ask()
    with pytest.raises(
        Throttled, match="of the CPU time is for inferences, and it is spent: shaped"
    ) as caught:
        await here.ask()
    assert caught.value.retry_after_s > 0.0
    assert (await here.ask(priority=9)).limits == "shaped"
    with pytest.raises(Throttled):
        await here.ask(priority=9)
    here.limits.value = Limits()
    await here.ask()  # the next share begins with full buckets
    here.limits.value = Limits(duty=1e-5)
    with here.held():
        doomed = asyncio.get_running_loop().create_task(here.ask())
        await queued(here, 1)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        again = asyncio.get_running_loop().create_task(here.ask())
        await queued(here, 1)
    assert isinstance(await again, Answer)


@scenario()
async def test_a_call_of_a_higher_priority_does_not_wait_for_places_that_lower_ones_hold(here: Room) -> None:
    await here.ask()
    here.limits.value = Limits(concurrency=1, reason="hot")
    async with asyncio.TaskGroup() as group:
        with here.held():
            group.create_task(here.ask(priority=2))
            await queued(here, 1)
            with pytest.raises(Throttled, match="1 inferences are in the daemon"):
                await here.ask(priority=2)
            group.create_task(here.ask(priority=7))
            await queued(here, 2)


@scenario()
async def test_concurrency_counts_what_is_queued_and_what_runs_over_all_models(here: Room) -> None:
    await here.ask()
    await here.ask("other")
    here.limits.value = Limits(concurrency=2, reason="hot")
    async with asyncio.TaskGroup() as group:
        with here.held(), here.held("other"):
            group.create_task(here.ask())
            group.create_task(here.ask("other"))
            await queued(here, 2)
            with pytest.raises(Throttled, match="2 inferences are in the daemon"):
                await here.ask()
    assert isinstance(await here.ask(), Answer)


def _discard(_: object) -> None: ...


@scenario()
async def test_whoever_has_its_answer_may_ask_again_at_once_although_nothing_else_may_run(here: Room) -> None:
    await here.ask()
    here.limits.value = Limits(concurrency=1)
    loop, again = asyncio.get_running_loop(), asyncio.Event()
    asked: list[Future[Answer]] = []

    def ask_again() -> None:  # ahead of what the thread tells the loop after it has sent
        asked.append(here.scheduler.submit(room.request("tiny", (1.0, 2.0))))
        again.set()

    def reply(_answer: Answer) -> Callable[[], None]:
        return lambda: _discard(loop.call_soon_threadsafe(ask_again))

    await here.scheduler.submit(room.request("tiny", (1.0, 2.0)), reply)
    await again.wait()
    assert isinstance(await asked[0], Answer)


@scenario(preload=["*"])
async def test_models_are_loaded_at_start_where_that_is_wanted(here: Room) -> None:
    await here.scheduler.settled()
    loaded = {(status.name, status.state) for status in here.scheduler.status().models}
    assert loaded == {(name, "ready") for name in ("tiny", "other", "large", "okay_nabu")}


@scenario()
async def test_models_are_loaded_when_first_used(here: Room) -> None:
    assert here.scheduler.status().models == []
    await here.ask()
    assert [status.name for status in here.scheduler.status().models] == ["tiny"]


@scenario()
async def test_the_least_recently_used_model_is_unloaded_for_the_next(here: Room) -> None:
    numbers = [0.0] * 512
    await here.ask()
    await here.ask("other")
    await here.ask("large", numbers)
    await here.ask()  # all three fit; now `other` is the oldest
    memory = {status.name: status.memory_bytes for status in here.scheduler.status().models}
    budget = sum(memory.values())
    here.scheduler._shelf._config = InferenceConfig(memory_budget_bytes=budget)
    await here.ask(variant="int8")
    left = {
        (status.name, status.variant) for status in here.scheduler.status().models if status.state == "ready"
    }
    assert left == {("large", "f32"), ("tiny", "f32"), ("tiny", "int8")}
    assert here.scheduler.status().memory_bytes <= budget + max(memory.values())
    assert isinstance(await here.ask("other"), Answer)


@scenario()
async def test_a_model_that_is_being_loaded_has_its_place_taken(here: Room) -> None:
    sizes = {}
    for name, values in (("tiny", (1.0, 2.0)), ("other", (1.0, 2.0)), ("large", [0.0] * 512)):
        await here.ask(name, values)
        sizes[name] = max(m.memory_bytes for m in here.scheduler.status().models if m.name == name)
        here.limits.value = Limits(memory_share=1e-9)
        here.scheduler.limits_changed()
        here.limits.value = Limits()
    budget = sizes["tiny"] + sizes["large"] - 1
    here.scheduler._shelf._config = InferenceConfig(memory_budget_bytes=budget)
    first = here.scheduler.submit(room.request("tiny", (1.0, 2.0)))
    with pytest.raises(Overloaded, match="models at work hold the memory that large needs"):
        await here.ask("large", [0.0] * 512)
    assert isinstance(await first, Answer)
    assert isinstance(await here.ask("large", [0.0] * 512), Answer)


@scenario()
async def test_when_memory_is_short_idle_models_leave_at_once_and_one_at_a_time_still_runs(
    here: Room,
) -> None:
    for model in ("tiny", "other"):
        await here.ask(model)
    here.limits.value = Limits(memory_share=1e-9)
    here.scheduler.limits_changed()
    assert ready(here) == []
    for model in ("tiny", "other"):
        assert isinstance(await here.ask(model), Answer)
        assert ready(here) == [model]


@scenario(threads=2)
async def test_a_model_is_loaded_anew_with_the_threads_that_the_limits_leave(here: Room) -> None:
    await here.ask()
    before = worker(here)
    assert before.threads == 2
    here.limits.value = Limits(threads_max=1)
    here.scheduler.limits_changed()
    await here.ask()
    assert (worker(here) is before, worker(here).threads) == (False, 1)
    here.scheduler.limits_changed()
    await here.ask()
    assert worker(here).threads == 1


def ready(here: Room) -> list[str]:
    return [status.name for status in here.scheduler.status().models if status.state == "ready"]


def worker(here: Room) -> Worker:
    (only,) = here.scheduler._shelf.workers.values()
    return only


@scenario(memory_budget_bytes=OVERHEAD_BYTES + 2048)
async def test_a_model_larger_than_the_budget_is_refused_by_name_and_the_others_stay(here: Room) -> None:
    await here.ask()
    for _ in range(2):
        with pytest.raises(TooLarge, match="model large takes"):
            await here.ask("large", [0.0] * 512)
    assert [status.name for status in here.scheduler.status().models if status.state == "ready"] == ["tiny"]
    assert isinstance(await here.ask(), Answer)


@scenario()
async def test_a_model_with_work_queued_is_never_unloaded(here: Room) -> None:
    await here.ask()
    memory = here.scheduler.status().memory_bytes
    here.scheduler._shelf._config = InferenceConfig(memory_budget_bytes=max(1024, memory))
    async with asyncio.TaskGroup() as group:
        with here.held():
            waiting = group.create_task(here.ask())
            await queued(here, 1)
            with pytest.raises((Overloaded, TooLarge)):
                await here.ask("large", [0.0] * 512)
    assert isinstance(waiting.result(), Answer)


def test_another_version_serves_the_next_call_while_the_old_one_finishes(tmp_path: Path) -> None:
    async def main() -> None:
        models = room.library(tmp_path)
        room.install_linear(models, version="1")
        async with room.opened(models) as here:
            await here.ask()
            async with asyncio.TaskGroup() as group:
                with here.held():
                    old = group.create_task(here.ask())
                    await queued(here, 1)
                    room.install_linear(models, version="2", weights=[[0.0, 1.0], [1.0, 0.0]])
                    here.scheduler.serve(models.manifest("tiny", "2"))
                    new = await here.ask(values=(5.0, 1.0))
            assert (new.version, old.result().version) == ("2", "1")
            assert isinstance(new.finding, Labels)
            assert new.finding.labels[0].label == "right"
            here.scheduler.withdraw("tiny")
            with pytest.raises(NotFound, match="no model tiny serves here"):
                await here.ask()

    asyncio.run(main())


def test_a_model_whose_file_rots_on_disk_is_refused_by_name_and_tried_again_later(tmp_path: Path) -> None:
    models = room.library(tmp_path)
    room.install_linear(models)
    file = next(tmp_path.rglob("tiny.tflite"))
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    async def main() -> None:
        async with room.opened(models) as here:
            for _ in range(3):
                with pytest.raises(StorageError, match="damaged"):
                    await here.ask()
            file.write_bytes(content)
            here.scheduler._shelf._failures.clear()  # five seconds later
            assert isinstance(await here.ask(), Answer)

    asyncio.run(main())


def test_a_model_that_does_not_fit_its_manifest_is_refused_when_loaded(tmp_path: Path) -> None:
    async def main() -> None:
        models = room.library(tmp_path)
        room.install_linear(models)
        manifest = models.manifest("tiny", "1")
        async with room.opened(models) as here:
            narrow = VectorInput(names=["a"], mean=[0.0], std=[1.0])
            here.scheduler.serve(msgspec.structs.replace(manifest, input=narrow))
            with pytest.raises(BadModel, match=r"tiny 1: .*shape"):
                await here.ask()

    asyncio.run(main())


@scenario()
async def test_an_idle_daemon_that_closes_refuses_the_next_call(here: Room) -> None:
    await here.ask()
    await here.scheduler.close()
    with pytest.raises(NotReady, match="stopping"):
        await here.ask()
    assert here.scheduler.status().models == []


@scenario()
async def test_closing_lets_admitted_calls_run(here: Room) -> None:
    await here.ask()
    async with asyncio.TaskGroup() as group:
        with here.held():
            calls = [group.create_task(here.ask()) for _ in range(3)]
            await queued(here, 3)
            closing = group.create_task(here.scheduler.close())
            await asyncio.sleep(0)
            with pytest.raises(NotReady):
                await here.ask()
        await closing
    assert all(isinstance(call.result(), Answer) for call in calls)


@scenario()
async def test_closing_without_grace_refuses_what_waits(here: Room) -> None:
    await here.ask()
    waiting = asyncio.get_running_loop().create_task(here.ask())
    with here.held():
        await queued(here, 1)
        closing = asyncio.get_running_loop().create_task(here.scheduler.close(grace_s=0.0))
        await asyncio.wait([waiting])
    await closing
    assert isinstance(waiting.exception(), NotReady) or isinstance(waiting.result(), Answer)


async def listen(here: Room, stream: str, peer: str = "peer") -> Answer:
    return await here.scheduler.submit(
        room.request("okay_nabu", given=Pcm(16_000, bytes(9600)), stream=stream, peer=peer)
    )


def streams(here: Room) -> int:
    return sum(status.streams for status in here.scheduler.status().models)


@scenario(streams_max=3, streams_max_per_peer=2)
async def test_streams_are_capped_per_peer_and_in_all_and_end_with_their_peer(here: Room) -> None:
    await listen(here, "1", "a")
    one = here.scheduler.status().memory_bytes
    await listen(here, "2", "a")
    assert here.scheduler.status().memory_bytes > one
    with pytest.raises(Overloaded, match="streams_max_per_peer"):
        await listen(here, "3", "a")
    await listen(here, "1", "b")
    with pytest.raises(Overloaded, match="streams_max"):
        await listen(here, "1", "c")
    here.scheduler.forget("a")
    assert streams(here) == 1
    await listen(here, "1", "c")
    pipelines: list[object] = []
    worker = next(iter(here.scheduler._shelf.workers.values()))
    worker._orders.put(pipelines.append)
    await listen(here, "1", "c")
    assert len(pipelines[0]._streams) == 2  # type: ignore[attr-defined] # the thread's own table agrees
    pipelines.clear()


@scenario(stream_idle_s=0.01)
async def test_an_idle_stream_is_closed_by_itself(here: Room) -> None:
    await listen(here, "mic")
    while streams(here):
        await here.scheduler.changed()
    assert isinstance(await listen(here, "mic"), Answer)


@scenario()
async def test_a_model_with_an_open_stream_is_not_unloaded_for_another(here: Room) -> None:
    await listen(here, "mic")
    memory = here.scheduler.status().memory_bytes
    here.scheduler._shelf._config = InferenceConfig(memory_budget_bytes=memory)
    with pytest.raises(Overloaded, match="models at work hold the memory that tiny needs"):
        await here.ask()
    here.scheduler.forget("peer")
    assert isinstance(await here.ask(), Answer)


@scenario()
async def test_only_models_that_listen_have_streams(here: Room) -> None:
    with pytest.raises(BadArgument, match=r"\$\.stream"):
        await here.ask(stream="mic")
    assert streams(here) == 0


@scenario()
async def test_a_bad_call_leaves_no_view_that_would_stop_the_next_invoke(here: Room) -> None:
    kept = []
    for _ in range(20):
        try:
            await here.ask(values=[1.0])
        except BadArgument as exc:
            kept.append(exc)
        await here.ask()
    assert all(error.__traceback__ is not None for error in kept), "each was raised to its caller"


@scenario()
async def test_two_thousand_calls_leave_nothing_behind(here: Room) -> None:
    await here.ask()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        await asyncio.gather(*(here.ask(peer=peer) for peer in range(20)))
    gc.collect()
    assert len(gc.get_objects()) - before < 500
    assert tallied(here, "answered") == 2001


@scenario()
async def test_what_happened_is_counted_and_timed_by_stage(here: Room) -> None:
    await here.ask()
    with pytest.raises(BadArgument):
        await here.ask(values=[])
    status = here.scheduler.status()
    assert status.outcomes == {"tiny": {"answered": 1, "BadArgument": 1}}
    assert set(status.stages["tiny"]) == {"queue", "decode", "preprocess", "invoke", "postprocess", "total"}
    assert status.stages["tiny"]["invoke"].count == 1
    assert status.in_hand == 0
