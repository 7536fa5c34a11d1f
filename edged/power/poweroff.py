"""Ends the board in good order before its battery ends it in bad, where the owner wants that.

systemd stops us as it stops everything: what is admitted finishes, and what must survive is on disk already.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edged.power.readings import Sample, value

LOG = logging.getLogger(__name__)

LOOKS = 3
"""A gauge has to say so this often in a row: one that lies once must not end the board."""
AGAIN_S = 60.0
"""A command that failed is tried again so much later."""
COMMAND_S = 30.0


class PoweredOff(NamedTuple):
    """The decision, told before it has an effect."""

    percent: float
    command: Sequence[str]


class PowerOff:
    """`look` at every sample. Runs `command` once the battery, in use, is at `at_pct` or below."""

    def __init__(
        self, command: Sequence[str], at_pct: float, tell: Callable[[PoweredOff], None] = lambda _: None
    ) -> None:
        self._command, self._at_pct, self._tell = command, at_pct, tell
        self._low = 0
        self._not_before_s = 0.0

    async def look(self, sample: Sample, now: float) -> None:
        """Act on one sample."""
        percent = value(sample, "battery.reserve")
        self._low = self._low + 1 if percent is not None and percent <= self._at_pct else 0
        if percent is None or self._low < LOOKS or now < self._not_before_s:
            return
        self._not_before_s = now + AGAIN_S
        self._tell(PoweredOff(percent, self._command))
        LOG.critical("power off battery_pct=%g command=%r", percent, list(self._command))
        try:
            await self._run()
        except (OSError, TimeoutError) as exc:
            LOG.error("power off failed error=%r retry_in_s=%g", str(exc) or "timed out", AGAIN_S)  # noqa: TRY400 - it says it all

    async def _run(self) -> None:
        await asyncio.to_thread(os.sync)
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(COMMAND_S):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        if status:
            raise OSError(f"it ended with {status}")
