"""Admits calls, picks who runs them, keeps what is loaded within its budget. All of it is the event loop's.

submit -> Gate (Limits) -> variant -> Worker (loaded when first used) -> Turns -> its thread -> Answer
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

import msgspec

from edged.errors import BadArgument, DeviceError, EdgedError, NotFound, NotReady, Overloaded, TooLarge
from edged.inference.config import InferenceConfig, MiB
from edged.inference.gate import Gate, Resident, choose_variant, to_unload
from edged.inference.kernels.seam import Kernels
from edged.inference.manifest import AudioInput, Manifest, Variant
from edged.inference.pipeline import Loader, Parts, Pipeline, load
from edged.inference.request import Request
from edged.inference.stats import ModelStats, ModelStatus, Status
from edged.inference.streams import Key, StreamLedger
from edged.inference.values import Answer
from edged.inference.worker import Job, Reply, Worker, WorkerKey
from edged.limits import Limits
from edged.metrics import Histogram

LOG = logging.getLogger(__name__)

FAILURE_KEPT_S = 5.0
"""A model that failed to load is not tried again for so long: loading hashes and copies its file."""
CLOSING_S = 5.0
"""Seconds after which a new daemon may have taken over from one that is closing."""

T_co = TypeVar("T_co", covariant=True)


class Current(Protocol[T_co]):
    """The current value of something that changes (`tasks.Latest` is one)."""

    @property
    def value(self) -> T_co:
        """It, now."""


class Models(Protocol):
    """What the scheduler asks of the library, always on a worker's thread."""

    def labels(self, name: str, version: str) -> Sequence[str]:
        """Its output's labels, from the manifest or its file; empty where it has none."""

    def open_variant(self, name: str, version: str, variant: str) -> int:
        """A sealed memory file with the model, verified; the caller closes it."""

    def begin_load(self, name: str, version: str, variant: str) -> None:
        """Journal that this file is about to be loaded into the daemon."""

    def end_load(self, name: str, version: str, variant: str) -> None:
        """Journal that it was loaded and run, or failed in good order."""


class Scheduler:
    """The one way to run a model. Construct it on the loop; `close` it before the loop ends."""

    def __init__(
        self,
        config: InferenceConfig,
        models: Models,
        runtime: Loader,
        kernels: Kernels,
        limits: Current[Limits],
    ) -> None:
        self._config, self._models, self._runtime, self._kernels, self._limits = (
            config,
            models,
            runtime,
            kernels,
            limits,
        )
        self._gate = Gate()
        self._serving: dict[str, Manifest] = {}
        self._workers: dict[WorkerKey, Worker] = {}
        self._leaving: set[Worker] = set()
        self._in_hand = 0
        self._stats: dict[str, ModelStats] = {}
        self._known_bytes: dict[WorkerKey, int] = {}
        self._failures: dict[WorkerKey, tuple[EdgedError, float]] = {}
        self._ledger = StreamLedger(config)
        self._homes: dict[Key, Worker] = {}
        self._reaper: asyncio.TimerHandle | None = None
        self._closing = False
        self._changed = asyncio.Event()

    def submit(self, request: Request, reply: Reply | None = None) -> asyncio.Future[Answer]:
        """Run one inference. Cancelling takes it out of the queue, or lets it finish unobserved.

        With a `reply` the answer need not wait for the loop: what it gives is called on the model's thread, and
        the future ends soon after. Raises, or the future does: Rejected for a wrong request, Refused where it may
        come back later, DeviceError where the model failed.
        """
        manifest = self._serving.get(request.model)
        if manifest is None:
            raise NotFound(
                f"no model {request.model} serves here; those that do: {', '.join(sorted(self._serving))}"
            )
        stats = self._stats_of(request.model)
        try:
            worker, job = self._admit(request, manifest, reply)
        except EdgedError as exc:
            stats.outcomes.add(type(exc).__name__)
            raise
        job.future.add_done_callback(partial(self._cancelled, worker, job))
        return job.future

    def _cancelled(self, worker: Worker, job: Job, future: asyncio.Future[Answer]) -> None:
        """Take a job back whose caller no longer waits; nothing happens where it was run."""
        if not future.cancelled():
            return
        self._stats_of(job.request.model).outcomes.add("cancelled")
        if worker.withdraw(job):
            self._in_hand -= 1
            self._changed.set()

    def serve(self, manifest: Manifest) -> None:
        """Answer for this version from now on; calls already admitted finish on the one before."""
        self._serving[manifest.name] = manifest
        for worker in self._of_model(manifest.name):
            if worker.key.version != manifest.version:
                self._retire(worker)
        if not {manifest.name, "*"}.isdisjoint(self._config.preload):
            self._preload(manifest)

    def withdraw(self, name: str) -> None:
        """Answer for this model no more; calls already admitted finish."""
        self._serving.pop(name, None)
        for worker in self._of_model(name):
            self._retire(worker)

    async def settled(self) -> None:
        """Wait until nothing is loading; what failed to was logged, and is tried again at its next call."""
        while any(not worker.ready for worker in self._workers.values()):
            await self.changed()

    def limits_changed(self) -> None:
        """Unload idle models that the new Limits leave no memory for, or whose threads are not what they say."""
        threads = self._threads()
        for worker in list(self._workers.values()):
            if worker.idle and worker.threads != threads and not self._streams_of(worker):
                self._retire(worker)
        residents = self._residents([w for w in self._workers.values() if w.ready])
        leave = to_unload(residents, 0, self._budget_bytes())
        for key in [resident.key for resident in residents if resident.idle] if leave is None else leave:
            self._retire(self._workers[key])

    def forget(self, peer: Hashable) -> None:
        """Close what a peer has open; call it when the peer is gone."""
        for key in self._ledger.of_peer(peer):
            self._close_stream(key)

    async def close(self, grace_s: float = 5.0) -> None:
        """Admit nothing more, let what was admitted run for `grace_s`, refuse the rest, free every model."""
        self._closing = True
        if self._reaper is not None:
            self._reaper.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._in_hand:
                    await self.changed()
        for worker in list(self._workers.values()):
            self._refuse_queued(worker, NotReady("the daemon is stopping", CLOSING_S))
            self._retire(worker)
        with contextlib.suppress(
            TimeoutError
        ):  # a thread that hangs in native code cannot be ended, only left
            async with asyncio.timeout(grace_s):
                while self._leaving:
                    await self.changed()

    async def changed(self) -> None:
        """Wait until a call ends, a model is loaded or gone, or a stream is closed."""
        self._changed.clear()
        await self._changed.wait()

    def kernels_error(self) -> float:
        """See `Kernels.error`; on any thread."""
        return self._kernels.error()

    def status(self) -> Status:
        """What is loaded, and what became of every call."""
        workers = [*self._workers.values(), *self._leaving]
        return Status(
            models=[self._status_of(worker) for worker in workers],
            memory_bytes=sum(map(self._bytes, workers)),
            memory_budget_bytes=self._config.memory_budget_bytes,
            in_hand=self._in_hand,
            outcomes={name: stats.outcomes.by_name() for name, stats in self._stats.items()},
            stages={
                name: {stage: times.summary() for stage, times in stats.stages.items() if times.count}
                for name, stats in self._stats.items()
            },
        )

    def times(self) -> dict[str, Histogram]:
        """How long answers took, by model: all stages together, over all its versions."""
        return {name: stats.stages["total"] for name, stats in self._stats.items()}

    # a call's way in

    def _admit(self, request: Request, manifest: Manifest, reply: Reply | None) -> tuple[Worker, Job]:
        if self._closing:
            raise NotReady("the daemon is stopping", CLOSING_S)
        now = monotonic()
        limits = self._limits.value
        stream = self._stream_key(request, manifest)
        worker = self._homes.get(stream) if stream else None
        if worker is None or worker.key.version != manifest.version:
            variant = manifest.variants[
                choose_variant(manifest.name, manifest.variants, request.variant, limits)
            ]
            worker = self._worker(manifest, variant, now)
        in_hand = self._in_hand if self._in_hand < limits.concurrency else self._unanswered()
        self._gate.admit(limits, request.priority, in_hand, worker.service_s, now)
        opened = stream is not None and self._open_stream(stream, worker, now)
        patience_s = self._config.deadline_s if request.deadline_s is None else request.deadline_s
        job = Job(request, worker.loop.create_future(), now, now + patience_s, limits.reason, stream, reply)
        try:
            left = worker.submit(job)
        except Overloaded:
            if opened and stream is not None:
                self._close_stream(stream)
            raise
        self._in_hand += 1
        if left is not None:
            self._over(left, worker.overloaded(left.request.priority))
        return worker, job

    def _unanswered(self) -> int:
        """Jobs in hand, without those whose caller has its answer and may ask again before we hear of it."""
        return self._in_hand - sum(worker.answered for worker in (*self._workers.values(), *self._leaving))

    def _worker(self, manifest: Manifest, variant: Variant, now: float) -> Worker:
        key = WorkerKey(manifest.name, manifest.version, variant.name)
        worker = self._workers.get(key)
        if worker is not None:
            return worker
        if key in self._failures:
            error, until = self._failures[key]
            if now < until:
                raise _again(error)
        self._make_room(key, self._known_bytes.get(key, 0))
        config = msgspec.structs.replace(self._config, threads=self._threads())
        worker = Worker(key, config, lambda: self._on_thread_load(key, manifest, config), self)
        self._workers[key] = worker
        return worker

    def _preload(self, manifest: Manifest) -> None:
        index = choose_variant(manifest.name, manifest.variants, None, self._limits.value)
        with contextlib.suppress(EdgedError):  # the first call will be told
            self._worker(manifest, manifest.variants[index], monotonic())

    def _of_model(self, name: str) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.key.name == name]

    def _on_thread_load(self, key: WorkerKey, manifest: Manifest, config: InferenceConfig) -> Pipeline:
        labels = self._models.labels(key.name, key.version)
        fd = self._models.open_variant(*key)
        self._models.begin_load(*key)
        try:
            return load(Parts(manifest, labels, fd, self._runtime, self._kernels, config))
        except BaseException:
            os.close(fd)
            raise
        finally:
            self._models.end_load(*key)

    # what workers tell

    def loaded(self, worker: Worker, interpreter_bytes: int) -> None:
        """Let a loaded model begin if the budget has room for it."""
        self._changed.set()
        worker.interpreter_bytes = self._known_bytes[worker.key] = interpreter_bytes
        self._failures.pop(worker.key, None)
        try:
            if not worker.leaving:
                self._make_room(worker.key, self._bytes(worker))
        except EdgedError as exc:
            self._refuse_queued(worker, exc)
            self._retire(worker)
            worker.reject()
        else:
            worker.admit()

    def failed(self, worker: Worker, error: EdgedError) -> None:
        """Pass a failure to load on to whom it concerns, and remember it for a while."""
        self._changed.set()
        LOG.error("load failed model=%s version=%s variant=%s error=%s", *worker.key, error.message)
        self._failures[worker.key] = error, monotonic() + FAILURE_KEPT_S
        self._refuse_queued(worker, error)
        self._retire(worker)
        self._leaving.discard(worker)

    def done(self, worker: Worker, job: Job, result: Answer | EdgedError, service_s: float) -> None:
        """Hand a result to its caller."""
        worker.finished(job, service_s if isinstance(result, Answer) else None)
        self._over(job, result)
        if job.stream is not None:
            if isinstance(result, DeviceError):
                self._close_stream(job.stream)
            if self._homes.get(job.stream) is not worker:  # closed while this piece was on its way
                worker.close_stream(job.stream)

    def ended(self, worker: Worker) -> None:
        """Its memory is free."""
        self._leaving.discard(worker)
        self._changed.set()

    def _over(self, job: Job, result: Answer | EdgedError) -> None:
        self._in_hand -= 1
        self._changed.set()
        future = job.future
        stats = self._stats_of(job.request.model)
        if isinstance(result, Answer):
            stats.answered(result)
            if not future.done():
                future.set_result(result)
        else:
            stats.outcomes.add(type(result).__name__)
            if not future.done():
                future.set_exception(result)

    def _refuse_queued(self, worker: Worker, error: EdgedError) -> None:
        for job in worker.drain():
            self._over(job, _again(error))

    # what is loaded

    def _make_room(self, key: WorkerKey, need_bytes: int) -> None:
        """Unload idle models until `key` may take `need_bytes`, or raise."""
        if need_bytes > (most := self._config.memory_budget_bytes):
            need, room = f"{need_bytes / MiB:.1f} MiB", f"{most / MiB:.1f} MiB"
            raise TooLarge(f"model {key.name} takes {need}, the budget (memory_budget_bytes) is {room}")
        others = [w for w in self._workers.values() if w.ready and w.key != key]
        leave = to_unload(self._residents(others), need_bytes, max(self._budget_bytes(), need_bytes))
        if leave is None:
            soonest = max(w.service_s * max(1, w.in_hand) for w in others)
            raise Overloaded(f"models at work hold the memory that {key.name} needs", soonest)
        for resident in leave:
            self._retire(self._workers[resident])

    def _budget_bytes(self) -> int:
        return int(self._config.memory_budget_bytes * self._limits.value.memory_share)

    def _residents(self, workers: Sequence[Worker]) -> list[Resident[WorkerKey]]:
        return [
            Resident(w.key, self._bytes(w), w.used_at_s, w.idle and not self._streams_of(w)) for w in workers
        ]

    def _threads(self) -> int:
        """What an interpreter that is loaded now may use."""
        most = self._limits.value.threads_max
        return self._config.threads if most is None else min(most, self._config.threads)

    def _retire(self, worker: Worker) -> None:
        """Let a worker finish what it has and go."""
        for key in self._streams_of(worker):
            self._drop_stream(key)
        if self._workers.pop(worker.key, None) is not None:
            self._leaving.add(worker)
            worker.stop()

    def _bytes(self, worker: Worker) -> int:
        return worker.interpreter_bytes * (1 + len(self._streams_of(worker)))

    # streams

    def _stream_key(self, request: Request, manifest: Manifest) -> Key | None:
        if request.stream is None:
            return None
        if not isinstance(manifest.input, AudioInput):
            raise BadArgument(f"$.stream: means nothing to {manifest.name}")
        return Key(request.peer, manifest.name, request.stream)

    def _open_stream(self, key: Key, worker: Worker, now: float) -> bool:
        """Note a piece of a stream; give whether it is the first. Raises Overloaded, TooLarge."""
        new = self._ledger.touch(key, now)
        try:
            if new and worker.ready:
                self._make_room(worker.key, self._bytes(worker) + worker.interpreter_bytes)
        except EdgedError:
            self._ledger.drop(key)
            raise
        self._homes[key] = worker
        if self._reaper is None:
            self._reap_later(now)
        return new

    def _close_stream(self, key: Key) -> None:
        worker = self._homes.get(key)
        self._drop_stream(key)
        if worker is not None:
            worker.close_stream(key)

    def _drop_stream(self, key: Key) -> None:
        self._ledger.drop(key)
        self._homes.pop(key, None)
        self._changed.set()

    def _reap(self) -> None:
        now = monotonic()
        for key in self._ledger.idle(now):
            self._close_stream(key)
        self._reap_later(now)

    def _reap_later(self, now: float) -> None:
        wait_s = self._ledger.next_check_s(now)
        self._reaper = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._reap)

    def _streams_of(self, worker: Worker) -> list[Key]:
        return [key for key, home in self._homes.items() if home is worker]

    # small things

    def _stats_of(self, model: str) -> ModelStats:
        stats = self._stats.get(model)
        if stats is None:
            stats = self._stats[model] = ModelStats()
        return stats

    def _status_of(self, worker: Worker) -> ModelStatus:
        state = "leaving" if worker.leaving else "ready" if worker.ready else "loading"
        return ModelStatus(
            name=worker.key.name, version=worker.key.version, variant=worker.key.variant, state=state,
            memory_bytes=self._bytes(worker), in_hand=worker.in_hand, streams=len(self._streams_of(worker)),
        )  # fmt: skip


E = TypeVar("E", bound=EdgedError)


def _again(error: E) -> E:
    """A copy to raise: an exception collects a traceback each time it is raised."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    return copy
