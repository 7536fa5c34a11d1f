"""The models in memory: who is loaded, who leaves for whom, and who failed to load. All of it is the event loop's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

import msgspec

from edged.errors import EdgedError, Overloaded, TooLarge, again
from edged.inference.config import InferenceConfig, MiB
from edged.inference.pipelines.pipeline import Pipeline
from edged.inference.residency import Resident, Turnover, to_unload
from edged.inference.stats import ModelStatus
from edged.inference.streaming import Streams
from edged.inference.worker import Events, Worker, WorkerKey
from edged.limits import Limits

LOG = logging.getLogger(__name__)

FAILURE_KEPT_S = 5.0
"""A model that failed to load is not tried again for so long: loading hashes and copies its file."""

Load = Callable[[InferenceConfig], Pipeline]


class Shelf:
    """Workers by their key, within the memory that config and Limits leave them."""

    def __init__(
        self, config: InferenceConfig, limits: Callable[[], Limits], streams: Streams, events: Events
    ) -> None:
        self._config, self._limits, self._streams, self._events = config, limits, streams, events
        self.workers: dict[WorkerKey, Worker] = {}
        """Loaded, or being loaded."""
        self.leaving: set[Worker] = set()
        """Finishing what they have; their memory is not free yet."""
        self.loading_s = 0.0
        """Spent on loading since the start."""
        self._known_bytes: dict[WorkerKey, int] = {}
        self._failures: dict[WorkerKey, tuple[EdgedError, float]] = {}
        self._turnover: Turnover[WorkerKey] = Turnover()

    def take(self, key: WorkerKey, load: Load, now: float) -> Worker:
        """The worker of `key`, newly loading where it is not there. Raises Refused, and what it failed with lately."""
        worker = self.workers.get(key)
        if worker is not None:
            return worker
        if key in self._failures:
            error, until = self._failures[key]
            if now < until:
                raise again(error)
        self._displace(key, self._known_bytes.get(key, 0), now)
        config = msgspec.structs.replace(self._config, threads=self._threads())
        self.workers[key] = worker = Worker(key, config, lambda: load(config), self._events)
        worker.interpreter_bytes = self._known_bytes.get(key, 0)  # its place is taken while it loads
        return worker

    def settle(self, worker: Worker, interpreter_bytes: int) -> None:
        """Make room for a model that is loaded, or raise Refused; only now is its size known."""
        worker.interpreter_bytes = self._known_bytes[worker.key] = interpreter_bytes
        self._failures.pop(worker.key, None)
        self._turnover.loaded(worker.key, worker.load_s)
        self.loading_s += worker.load_s
        if not worker.leaving and (leave := self._for(worker.key, self.bytes(worker))):
            self._turnover.displaced(worker.key, monotonic())
            self._retire_all(leave)

    def failed(self, worker: Worker, error: EdgedError) -> None:
        """Take off what did not load, and remember why for a while."""
        LOG.error("load failed model=%s version=%s variant=%s error=%s", *worker.key, error.message)
        self._failures[worker.key] = error, monotonic() + FAILURE_KEPT_S
        self.retire(worker)
        self.leaving.discard(worker)

    def grow(self, worker: Worker) -> None:
        """Make room for one more stream of a worker, or raise Refused."""
        if worker.ready:
            self._retire_all(self._for(worker.key, self.bytes(worker) + worker.interpreter_bytes))

    def retire(self, worker: Worker) -> None:
        """Let a worker finish what it has and go."""
        for key in self._streams.of(worker):
            self._streams.drop(key)
        if self.workers.pop(worker.key, None) is not None:
            self.leaving.add(worker)
            worker.stop()

    def obey_limits(self) -> None:
        """Retire idle models that the Limits leave no memory for, or whose threads are not what they say."""
        threads = self._threads()
        for worker in list(self.workers.values()):
            if worker.idle and worker.threads != threads and not self._streams.of(worker):
                self.retire(worker)
        residents = self._residents([worker for worker in self.workers.values() if worker.ready])
        leave = to_unload(residents, 0, self._budget_bytes())
        self._retire_all([r.key for r in residents if r.idle] if leave is None else leave)

    def bytes(self, worker: Worker) -> int:
        """What a worker takes with its streams, each of which has an interpreter."""
        return worker.interpreter_bytes * (1 + len(self._streams.of(worker)))

    def status(self) -> list[ModelStatus]:
        """Every worker, those that leave last."""
        return [self._status_of(worker) for worker in (*self.workers.values(), *self.leaving)]

    def _displace(self, key: WorkerKey, need_bytes: int, now: float) -> None:
        """Make room for a model that is to be loaded, seldom enough that loading does not become the main work."""
        if not (leave := self._for(key, need_bytes)):
            return
        if wait_s := self._turnover.ask(key, now):
            raise Overloaded(
                f"memory is full, and others were loaded just now or come first: {key.name} waits", wait_s
            )
        self._turnover.displaced(key, now)
        self._retire_all(leave)

    def _for(self, key: WorkerKey, need_bytes: int) -> list[WorkerKey]:
        """Who must leave so that `key` may take `need_bytes`; raises where that is impossible, or for now."""
        if need_bytes > (most := self._config.memory_budget_bytes):
            need, room = f"{need_bytes / MiB:.1f} MiB", f"{most / MiB:.1f} MiB"
            raise TooLarge(f"model {key.name} takes {need}, the budget (memory_budget_bytes) is {room}")
        others = [worker for worker in self.workers.values() if worker.key != key]
        leave = to_unload(self._residents(others), need_bytes, max(self._budget_bytes(), need_bytes))
        if leave is None:
            soonest = max(w.cost.service_s * max(1, w.in_hand) for w in others)
            raise Overloaded(f"models at work hold the memory that {key.name} needs", soonest)
        return leave

    def _retire_all(self, keys: Sequence[WorkerKey]) -> None:
        for key in keys:
            self.retire(self.workers[key])

    def _residents(self, workers: Sequence[Worker]) -> list[Resident[WorkerKey]]:
        return [
            Resident(w.key, self.bytes(w), w.used_at_s, w.idle and not self._streams.of(w)) for w in workers
        ]

    def _budget_bytes(self) -> int:
        return int(self._config.memory_budget_bytes * self._limits().memory_share)

    def _threads(self) -> int:
        """What an interpreter that is loaded now may use."""
        most = self._limits().threads_max
        return self._config.threads if most is None else min(most, self._config.threads)

    def _status_of(self, worker: Worker) -> ModelStatus:
        state = "leaving" if worker.leaving else "ready" if worker.ready else "loading"
        return ModelStatus(
            name=worker.key.name, version=worker.key.version, variant=worker.key.variant, state=state,
            memory_bytes=self.bytes(worker), in_hand=worker.in_hand, streams=len(self._streams.of(worker)),
        )  # fmt: skip
