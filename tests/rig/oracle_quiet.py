"""Waits until nothing in this event loop has anything left to do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

TURNS_MAX = 100_000


async def quiet() -> None:
    """Return once no callback is due: every task waits for a message, a timer or for ever.

    `anyio.wait_all_tasks_blocked` says the same, but looks only ten times a second.
    """
    ready: deque[Any] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # no public way to ask
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("something runs for ever")
