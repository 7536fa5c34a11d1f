"""How services run: restarted within reason, told the newest value, blocking work on its own thread."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

_log = logging.getLogger(__name__)


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    restarts: int = 5,
    window_s: float = 60.0,
    backoff_s: float = 0.5,
    backoff_max_s: float = 30.0,
) -> None:
    """Run a service until it returns; start it again when it fails, later each time.

    The failure is passed on when more than `restarts` fall within `window_s`: then the daemon exits non-zero
    and its supervisor acts. Cancellation passes through.
    """
    loop = asyncio.get_running_loop()
    failures: deque[float] = deque(maxlen=restarts + 1)
    while True:
        try:
            await run()
        except Exception as exc:
            now = loop.time()
            failures.append(now)
            recent = sum(now - failure < window_s for failure in failures)
            if recent > restarts:
                _log.critical("service gave up name=%s failures=%d", name, recent)
                raise
            delay_s = min(backoff_s * 2 ** (recent - 1), backoff_max_s)
            _log.error("service failed name=%s restart_in_s=%s", name, delay_s, exc_info=exc)
            await asyncio.sleep(delay_s)
        else:
            return


class Latest(Generic[T]):
    """The newest value of something, and a way to wait for a newer one. For the event loop's thread."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Make `value` the newest; an equal one wakes nobody."""
        if value != self._value:
            self._value = value
            self._changed.set()
            self._changed = asyncio.Event()

    async def changed(self) -> T:
        """Wait until the value changes from what it is now; return the newest."""
        await self._changed.wait()
        return self._value


class OneThread:
    """A thread that owns what must not be shared (an interpreter, the TPM, SQLite); one job at a time."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """A future for what `job` gives or raises; one cancelled before its turn never runs.

        The caller bounds how many wait.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                outcome = job(*args, **kwargs)
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it belongs to whoever awaits the future
                _post(loop, _fail, future, exc)
            else:
                _post(loop, _give, future, outcome)

        self._jobs.put(work)
        return future

    def close(self) -> None:
        """Finish what is queued and end the thread; blocks until it has."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the loop is closed: nobody waits any more
        _log.debug("result after the loop was closed")


def _give(future: asyncio.Future[T], outcome: T) -> None:
    if not future.done():
        future.set_result(outcome)


def _fail(future: asyncio.Future[T], exc: BaseException) -> None:
    if not future.done():
        future.set_exception(exc)
