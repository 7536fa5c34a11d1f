"""Runs a test that is a coroutine, on a loop whose time a test may move on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any


def running(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, as pytest takes it."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def pass_time(seconds: float) -> None:
    """Have the running loop's clock jump ahead: what is due by then happens at its next turn."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]  # the loop asks itself, every turn
