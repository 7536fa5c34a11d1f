"""Time that passes at once: for tests of services that sleep."""

from __future__ import annotations

import asyncio


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer, and counts the jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.25
        self.wakeups = 0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined] # the loop's own queues
            self.now = max(self.now, self._scheduled[0]._when)  # type: ignore[attr-defined] # likewise
            self.wakeups += 1
        super()._run_once()  # type: ignore[misc] # BaseEventLoop has it
