"""An event loop whose clock runs on by itself: where nothing but time is waited for, it is already later."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from edged.tasks import OneThread

T = TypeVar("T")
P = ParamSpec("P")


class FastLoop(asyncio.SelectorEventLoop):
    """`asyncio.Runner(loop_factory=FastLoop)`. Blocking work belongs into a `WatchedThread`: time stands while it runs."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self.working = 0
        self.wakeups = 0
        """How often time alone woke it."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now_s


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: FastLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self._loop.working:
            return super().select(None)
        if timeout is None:
            raise AssertionError("nothing is left that could happen")
        self._loop.now_s += timeout
        self._loop.wakeups += 1
        return super().select(0)


class WatchedThread(OneThread):
    """A `OneThread` that a `FastLoop` waits for."""

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FastLoop)
        loop.working += 1
        future = super().run(job, *args, **kwargs)
        future.add_done_callback(lambda _: self._done(loop))
        return future

    def _done(self, loop: FastLoop) -> None:
        loop.working -= 1


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, in no time."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(main)
