"""What the rooms tell the log: who asked for what, what was decided, and what became of the device itself.

Each room knows this by a small Protocol of its own; arguments are redacted here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from edged.audit.chain import OURSELVES, Event
from edged.audit.log import Log
from edged.audit.redact import redacted
from edged.audit.store import Store

KEY_USED: Final = "keys.sign"


class Who(Protocol):
    """A principal."""

    @property
    def name(self) -> str:
        """`uid:1000`, `mqtt:agent-7`."""


class Recorder:
    """Writes events of the device into its log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._calls = log.config.inference == "calls"

    # what peers ask (see `edged.mcp.witness`)

    async def act(self, who: Who, what: str, arguments: object, *, frees: bool) -> None:
        """Record an operator's act before its effect; raises StorageError, and then it must not happen."""
        await self.log.act(Event(who.name, what, "allowed", redacted(arguments)), frees=frees)

    def acted(self, who: Who, what: str, error: str | None) -> None:
        """Record what became of it."""
        about = {"error": error} if error else {}
        self.log.note(Event(who.name, what, "failed" if error else "done", about))

    def called(self, who: Who, what: str) -> None:
        """Count a call below an operator's, or record it where the config wants that."""
        if self._calls:
            self.log.note(Event(who.name, what, "allowed"))
        else:
            self.log.count(what)

    def read(self, who: Who, what: str) -> None:
        """Record that something was read that operators alone may read."""
        self.log.note(Event(who.name, what, "read"), repeats=True)

    def refused(self, who: Who, what: str, why: str) -> None:
        """Record that somebody asked for what he may not; on any thread."""
        self.log.note(Event(who.name, what, "refused", {"why": why}), repeats=True)

    # what the device does

    async def started(self, **about: object) -> None:
        """Record the start, on the disk when this returns; raises StorageError."""
        await self.log.act(Event(OURSELVES, "daemon.start", "started", redacted(about)), frees=True)

    async def stopping(self, reason: str) -> None:
        """Record the end."""
        await self.log.act(Event(OURSELVES, "daemon.stop", "stopping", {"reason": reason}), frees=True)

    def limits_changed(self, before: str, after: str, cause: str, reason: str) -> None:
        """Record a change of what the device may do, by the names of its bands."""
        about = {"before": before, "after": after, "cause": cause, "reason": reason}
        self.log.note(Event(OURSELVES, "limits.change", "changed", redacted(about)))

    def reloaded(self, decision: str, **about: object) -> None:
        """Record that the config was read again, and what came of it."""
        self.log.note(Event(OURSELVES, "config.reload", decision, redacted(about)))

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """Record what the keys do, on their thread: a use soon, and everything else before its effect.

        Raises StorageError. The signatures under this log stand in it, and are not told (see `edged.keys.note`).
        """
        made = Event(OURSELVES, event, "used" if event == KEY_USED else "allowed", redacted(fields))
        if event == KEY_USED:
            self.log.note(made, repeats=True)
        else:
            self.log.act_from_thread(made)

    async def decided(self, who: str, what: str, decision: str, **about: object) -> None:
        """Record a decision before its effect (a config taken or refused, an enrolment); raises StorageError."""
        await self.log.act(Event(who, what, decision, redacted(about)))


class Notes:
    """Likewise `Recorder.note` for a command that has the device's state in hand, over a store it has opened."""

    def __init__(self, store: Store, who: str) -> None:
        self._store, self._who = store, who

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """On the disk when this returns; raises StorageError, and then it must not happen."""
        decision = "used" if event == KEY_USED else "allowed"
        self._store.append([Event(self._who, event, decision, redacted(fields))])
