"""Keeps whoever repeats himself from filling the log: the first is recorded, the next ones are counted.

Pure: `now` is an argument, in seconds, monotonic.
"""

from __future__ import annotations

from typing import Final

import msgspec

from edged.audit.chain import Event

WINDOW_S: Final = 60.0
KEPT_MAX: Final = 256
"""Different events in one window. More are recorded one by one: who varies them is stopped by the queue's bound."""

Key = tuple[str, str, str]


class Repeats:
    """Events that repeat within a window are told once, and at its end how often they came."""

    def __init__(self) -> None:
        self._since: dict[Key, tuple[float, int, Event]] = {}

    def take(self, event: Event, now: float) -> list[Event]:
        """What to record because of this event: it, or nothing yet; and what became due."""
        due = self.due(now)
        key = event.who, event.what, event.decision
        if known := self._since.get(key):
            self._since[key] = known[0], known[1] + 1, event
            return due
        if len(self._since) < KEPT_MAX:
            self._since[key] = now, 0, event
        return [*due, event]

    def due(self, now: float) -> list[Event]:
        """The counts of windows that are over."""
        over = [key for key, (since, _, _) in self._since.items() if now - since >= WINDOW_S]
        return [counted for key in over if (counted := self._counted(key))]

    def rest(self) -> list[Event]:
        """The counts of all windows, which end with this."""
        return [counted for key in list(self._since) if (counted := self._counted(key))]

    def _counted(self, key: Key) -> Event | None:
        _, times, event = self._since.pop(key)
        return msgspec.structs.replace(event, about={**event.about, "times": times}) if times else None
