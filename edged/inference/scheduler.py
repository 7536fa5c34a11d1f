"""Admits calls, picks who runs them, hands out what became of them. All of it is the event loop's.

submit -> variant -> Shelf: a Worker, loaded when first used -> Gate (Limits) -> Turns -> its thread -> Answer
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from edged.errors import BadArgument, DeviceError, EdgedError, NotFound, NotReady, Overloaded, again
from edged.inference.config import InferenceConfig
from edged.inference.gate import Cost, Gate, choose_variant
from edged.inference.kernels.seam import Kernels
from edged.inference.manifest import AudioInput, Manifest, Variant
from edged.inference.pipelines.loading import load
from edged.inference.pipelines.pipeline import Loader, Parts, Pipeline
from edged.inference.request import Request
from edged.inference.shelf import Shelf
from edged.inference.stats import ModelStats, Status
from edged.inference.streaming import Streams
from edged.inference.streams import Key
from edged.inference.values import Answer
from edged.inference.worker import Job, Reply, Worker, WorkerKey
from edged.limits import Limits
from edged.metrics import Histogram

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
        self._gate = Gate(os.cpu_count() or 1)
        self._serving: dict[str, Manifest] = {}
        self._jobs: set[Job] = set()
        self._stats: dict[str, ModelStats] = {}
        self._closing = False
        self._changed = asyncio.Event()
        self._streams = Streams(config, self._changed.set)
        self._shelf = Shelf(config, lambda: limits.value, self._streams, self)

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
            self._out(job, None)

    def serve(self, manifest: Manifest) -> None:
        """Answer for this version from now on; calls already admitted finish on the one before."""
        self._serving[manifest.name] = manifest
        for worker in self._of_model(manifest.name):
            if worker.key.version != manifest.version:
                self._shelf.retire(worker)
        if not {manifest.name, "*"}.isdisjoint(self._config.preload):
            self._preload(manifest)

    def withdraw(self, name: str) -> None:
        """Answer for this model no more; calls already admitted finish."""
        self._serving.pop(name, None)
        for worker in self._of_model(name):
            self._shelf.retire(worker)

    async def settled(self) -> None:
        """Wait until nothing is loading; what failed to was logged, and is tried again at its next call."""
        while any(not worker.ready for worker in self._shelf.workers.values()):
            await self.changed()

    def limits_changed(self) -> None:
        """Unload idle models that the new Limits leave no memory for, or whose threads are not what they say."""
        self._shelf.obey_limits()

    def forget(self, peer: Hashable) -> None:
        """Close what a peer has open; call it when the peer is gone."""
        self._streams.forget(peer)

    async def close(self, grace_s: float = 5.0) -> None:
        """Admit nothing more, let what was admitted run for `grace_s`, refuse the rest, free every model."""
        self._closing = True
        self._streams.stop()
        await self._until(lambda: not self._jobs, grace_s)
        for worker in list(self._shelf.workers.values()):
            self._refuse_queued(worker, NotReady("the daemon is stopping", CLOSING_S))
            self._shelf.retire(worker)
        await self._until(
            lambda: not self._shelf.leaving, grace_s
        )  # a hung thread cannot be ended, only left

    async def changed(self) -> None:
        """Wait until a call ends, a model is loaded or gone, or a stream is closed."""
        self._changed.clear()
        await self._changed.wait()

    def kernels_error(self) -> float:
        """See `Kernels.error`; on any thread."""
        return self._kernels.error()

    def status(self) -> Status:
        """What is loaded, and what became of every call."""
        models = self._shelf.status()
        return Status(
            models=models,
            memory_bytes=sum(model.memory_bytes for model in models),
            memory_budget_bytes=self._config.memory_budget_bytes,
            loading_s=round(self._shelf.loading_s, 3),
            in_hand=len(self._jobs),
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
        worker = self._streams.home(stream)
        if worker is None or worker.key.version != manifest.version:
            chosen = choose_variant(manifest.name, manifest.variants, request.variant, limits)
            worker = self._worker(manifest, manifest.variants[chosen], now)
        expected, priority = worker.cost, request.priority
        self._gate.admit(limits, priority, self._in_hand(priority, limits.concurrency), expected, now)
        patience_s = self._config.deadline_s if request.deadline_s is None else request.deadline_s
        job = Job(
            request,
            worker.loop.create_future(),
            now,
            now + patience_s,
            expected,
            limits.reason,
            stream,
            reply,
        )
        self._jobs.add(job)
        try:
            left = self._submit(worker, job, now)
        except EdgedError:
            self._out(job, None)
            raise
        if left is not None:
            self._over(left, worker.overloaded(left.request.priority))
        return worker, job

    def _submit(self, worker: Worker, job: Job, now: float) -> Job | None:
        """Open its stream where it begins one, and queue it; give the job that had to leave for it."""
        stream = job.stream
        opened = stream is not None and self._streams.open(
            stream, worker, now, lambda: self._shelf.grow(worker)
        )
        try:
            return worker.submit(job)
        except Overloaded:
            if opened and stream is not None:
                self._streams.close(stream)
            raise

    def _in_hand(self, priority: int, enough: int) -> int:
        """Jobs of this priority or a higher one; all of them where those are fewer than `enough`.

        Whose caller has its answer, and may ask again before we hear of it, does not count.
        """
        if len(self._jobs) < enough:
            return len(self._jobs)
        return sum(not job.answered and job.request.priority >= priority for job in self._jobs)

    def _worker(self, manifest: Manifest, variant: Variant, now: float) -> Worker:
        key = WorkerKey(manifest.name, manifest.version, variant.name)
        return self._shelf.take(key, partial(self._on_thread_load, key, manifest), now)

    def _preload(self, manifest: Manifest) -> None:
        index = choose_variant(manifest.name, manifest.variants, None, self._limits.value)
        with contextlib.suppress(EdgedError):  # the first call will be told
            self._worker(manifest, manifest.variants[index], monotonic())

    def _of_model(self, name: str) -> list[Worker]:
        return [worker for worker in self._shelf.workers.values() if worker.key.name == name]

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
        try:
            self._shelf.settle(worker, interpreter_bytes)
        except EdgedError as exc:
            self._refuse_queued(worker, exc)
            self._shelf.retire(worker)
            worker.reject()
        else:
            worker.admit()

    def failed(self, worker: Worker, error: EdgedError) -> None:
        """Pass a failure to load on to whom it concerns."""
        self._changed.set()
        self._refuse_queued(worker, error)
        self._shelf.failed(worker, error)

    def done(self, worker: Worker, job: Job, result: Answer | EdgedError, took: Cost) -> None:
        """Hand a result to its caller."""
        worker.finished(took if isinstance(result, Answer) else None)
        self._over(job, result, took)
        if job.stream is not None:
            if isinstance(result, DeviceError):
                self._streams.close(job.stream)
            if self._streams.home(job.stream) is not worker:  # closed while this piece was on its way
                worker.close_stream(job.stream)

    def ended(self, worker: Worker) -> None:
        """Its memory is free."""
        self._shelf.leaving.discard(worker)
        self._changed.set()

    def _over(self, job: Job, result: Answer | EdgedError, took: Cost | None = None) -> None:
        self._out(job, took)
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

    def _out(self, job: Job, took: Cost | None) -> None:
        """Charge what a job took, which is nothing where it did not run."""
        self._jobs.discard(job)
        self._gate.settle(job.request.priority, job.expected.cpu_s, took.cpu_s if took else 0.0)
        self._changed.set()

    def _refuse_queued(self, worker: Worker, error: EdgedError) -> None:
        for job in worker.drain():
            self._over(job, again(error))

    # small things

    def _stream_key(self, request: Request, manifest: Manifest) -> Key | None:
        if request.stream is None:
            return None
        if not isinstance(manifest.input, AudioInput):
            raise BadArgument(f"$.stream: means nothing to {manifest.name}")
        return Key(request.peer, manifest.name, request.stream)

    def _stats_of(self, model: str) -> ModelStats:
        stats = self._stats.get(model)
        if stats is None:
            stats = self._stats[model] = ModelStats()
        return stats

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until something holds, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    await self.changed()
