"""One loaded model on a thread of its own: loaded there, run there call after call, freed there.

The event loop puts jobs in and hears of outcomes; it never decodes, loads or invokes. A hop is a SimpleQueue
one way and `call_soon_threadsafe` the other (docs/decisions/0040): half the price of an executor. An answer may
be sent from here, before the loop hears of it (docs/decisions/0041).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic, thread_time
from typing import NamedTuple, Protocol, TypeVar

from edged.errors import DeadlineExceeded, EdgedError, Overloaded, RuntimeFault
from edged.inference.config import InferenceConfig
from edged.inference.gate import Cost
from edged.inference.pipelines.pipeline import Outcome, Pipeline
from edged.inference.request import Request
from edged.inference.streams import Key
from edged.inference.turns import Turns
from edged.inference.values import Answer, Stages
from edged.memory import trim

LOG = logging.getLogger(__name__)

UNMEASURED = Cost(0.1, 0.1)
"""What a call is taken to need before one has run."""
_SMOOTHING = 0.2


class WorkerKey(NamedTuple):
    """Which file of which model is loaded."""

    name: str
    version: str
    variant: str


Reply = Callable[[Answer], Callable[[], None]]
"""Prepares the sending of an answer on the worker's thread, ahead of its future on the loop."""


@dataclass(slots=True, eq=False)
class Job:
    """One admitted request and who waits for it."""

    request: Request
    future: asyncio.Future[Answer]
    arrived_s: float
    deadline_s: float
    expected: Cost
    limits: str
    stream: Key | None
    reply: Reply | None
    answered: bool = False
    """Whether the thread has sent the answer."""


class Events(Protocol):
    """What a worker tells its owner, always on the event loop."""

    def loaded(self, worker: Worker, interpreter_bytes: int) -> None:
        """It is loaded, and waits for `admit` or `reject`."""

    def failed(self, worker: Worker, error: EdgedError) -> None:
        """It did not load, and is gone."""

    def done(self, worker: Worker, job: Job, result: Answer | EdgedError, took: Cost) -> None:
        """A job was run or refused; nobody may wait for it any more."""

    def ended(self, worker: Worker) -> None:
        """It was stopped, and its memory is free."""


_Order = Callable[[Pipeline], None]


class Worker:
    """Methods are the loop's; what begins with `_on_thread` is the thread's."""

    def __init__(
        self, key: WorkerKey, config: InferenceConfig, load: Callable[[], Pipeline], events: Events
    ) -> None:
        self.key = key
        self.threads = config.threads
        self.ready = False
        self.leaving = False
        self.interpreter_bytes = 0
        self.used_at_s = monotonic()
        self.cost = UNMEASURED
        self.load_s = 0.0
        """What loading took; known when it is loaded."""
        self.in_hand = 0
        self._measured = False
        self._queue_max = config.queue_max
        self._load = load
        self._events = events
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._turns: Turns[Job] = Turns(config.queue_max)
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()  # None: a job waits in `_turns`, or did
        self._verdict: SimpleQueue[bool] = SimpleQueue()
        self._stopped = False  # the thread's
        self._thread = threading.Thread(target=self._on_thread, name=f"model-{key.name}", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return len(self._turns)

    @property
    def idle(self) -> bool:
        """Whether it is loaded and has nothing to do."""
        return self.ready and not self.in_hand

    def submit(self, job: Job) -> Job | None:
        """Queue a job; give the one that had to leave for it. Raises Overloaded when none would."""
        request = job.request
        with self._lock:
            taken, left = self._turns.push(request.priority, request.peer, job)
        if not taken:
            raise self.overloaded(request.priority)
        self.used_at_s = job.arrived_s
        self.in_hand += left is None
        self._orders.put(None)
        return left

    def overloaded(self, priority: int) -> Overloaded:
        """The refusal for a full queue, with the time in which what is ahead will have run."""
        ahead = self._turns.ahead(priority) + 1
        return Overloaded(
            f"{self.queued} calls wait for {self.key.name} (queue_max {self._queue_max})",
            ahead * self.cost.service_s,
        )

    def withdraw(self, job: Job) -> bool:
        """Take back a job that has not begun; False where it has."""
        with self._lock:
            gone = self._turns.remove(job.request.priority, job.request.peer, job)
        self.in_hand -= gone
        return gone

    def drain(self) -> list[Job]:
        """Take back every job that has not begun."""
        jobs = []
        with self._lock:
            while (job := self._turns.pop()) is not None:
                jobs.append(job)
        self.in_hand -= len(jobs)
        return jobs

    def admit(self) -> None:
        """Let a loaded model begin."""
        self.ready = True
        self._verdict.put(True)

    def reject(self) -> None:
        """Free a loaded model that may not begin."""
        self.leaving = True
        self._verdict.put(False)

    def close_stream(self, key: Key) -> None:
        """Close a stream once what was queued before is done."""
        self._orders.put(lambda pipeline: pipeline.close_stream(key))

    def stop(self) -> None:
        """Finish what is queued, then free the model."""
        if not self.leaving:
            self.leaving = True
            self._orders.put(self._on_thread_stop)

    def finished(self, took: Cost | None) -> None:
        """Note that a job is over, and what it took where it was answered."""
        self.in_hand -= 1
        if took is None:
            return
        if self._measured:
            pairs = zip(self.cost, took, strict=True)
            self.cost = Cost(*(usual + _SMOOTHING * (now - usual) for usual, now in pairs))
        else:
            self.cost, self._measured = took, True

    def _on_thread(self) -> None:
        began = monotonic()
        try:
            pipeline = self._load()
            self.load_s = monotonic() - began
        except EdgedError as exc:
            self._tell(self._events.failed, self, _bare(exc))
            return
        except Exception as exc:  # TFLite and what it calls raise anything
            LOG.exception("load model=%s version=%s variant=%s", *self.key)
            self._tell(
                self._events.failed,
                self,
                _bare(RuntimeFault(f"loading {self.key.name}: {type(exc).__name__}")),
            )
            return
        self._tell(self._events.loaded, self, pipeline.interpreter_bytes)
        if self._verdict.get():
            while not self._stopped:
                order = self._orders.get()
                if order is None:
                    self._on_thread_serve(pipeline)
                else:
                    order(pipeline)
        pipeline.close()
        del pipeline
        trim()
        self._tell(self._events.ended, self)

    def _on_thread_stop(self, _pipeline: Pipeline) -> None:
        self._stopped = True

    def _on_thread_serve(self, pipeline: Pipeline) -> None:
        with self._lock:
            job = self._turns.pop()
        if job is None:  # withdrawn
            return
        started, cpu_began = monotonic(), thread_time()
        result: Answer | EdgedError
        send: Callable[[], None] | None = None
        try:
            self._check_deadline(job, started)
            result = self._answer(job, pipeline.run(job.request), started)
            send = job.reply(result) if job.reply else None
        except EdgedError as exc:
            result = _bare(exc)
        except Exception as exc:  # the request boundary: one call's bug must not end the model
            LOG.exception("call model=%s version=%s variant=%s", *self.key)
            result = RuntimeFault(f"{self.key.name}: {type(exc).__name__}")
            _bare(exc)
        # an interpreter's threads share its work evenly: this one's time stands for each of them
        took = Cost(monotonic() - started, (thread_time() - cpu_began) * self.threads)
        if send:
            job.answered = True
            send()
        self._tell(self._events.done, self, job, result, took)

    def _check_deadline(self, job: Job, now: float) -> None:
        if now >= job.deadline_s:
            waited_s = now - job.arrived_s
            raise DeadlineExceeded(
                f"waited {waited_s:.3f} s for {self.key.name}, past its deadline", self.cost.service_s
            )

    def _answer(self, job: Job, outcome: Outcome, started: float) -> Answer:
        key = self.key
        return Answer(
            model=key.name,
            version=key.version,
            variant=key.variant,
            finding=outcome.finding,
            stages=Stages(
                queue_ms=round((started - job.arrived_s) * 1e3, 3),
                decode_ms=round(outcome.decode_ms, 3),
                preprocess_ms=round(outcome.preprocess_ms, 3),
                invoke_ms=round(outcome.invoke_ms, 3),
                postprocess_ms=round(outcome.postprocess_ms, 3),
            ),
            limits=job.limits,
            annotated_png=outcome.annotated_png,
        )

    def _tell(self, event: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self.loop.call_soon_threadsafe(event, *args)


E = TypeVar("E", bound=BaseException)


def _bare(error: E) -> E:
    """The error without its frames: they hold views into the interpreter, which then refuses to invoke."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
