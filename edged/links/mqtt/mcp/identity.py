"""Which of several devices serves under one id, decided on the retained presence alone, without a fight.

Pure. Every device of the id hears the presence topic in the broker's order, its own messages included. A claim is
`new` or `kept`:

- A device that connects publishes a new claim. Where it finds another's claim there before its own it asks: it does
  not serve while `ANSWER_S` pass, then keeps its claim.
- Who serves answers a new claim by keeping its own.
- Who asks and hears a claim kept yields: it answers nobody, and claims anew after a pause that doubles each time, or a
  minute after the other's presence was withdrawn.
- Where two keep theirs (two brokers that met again, a device that slept), each does so `KEEPS_MAX` times, then the
  greater boot id yields.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

ANSWER_S: Final = 2.0
"""How long a newcomer waits for whoever was there: some round trips of a slow network."""
KEEPS_MAX: Final = 3
KEEPS_WINDOW_S: Final = 60.0
AGAIN_MIN_S: Final = 60.0
AGAIN_MAX_S: Final = 3600.0
RESTORE_S: Final = 1.0
"""Between two repairs of a presence that somebody emptied: the will of an earlier connection, late, or a prank."""


class State(enum.StrEnum):
    """Where a device stands."""

    OFFLINE = "offline"
    SERVING = "serving"
    ASKING = "asking"
    """Another was there before; it is given time to say so."""
    YIELDED = "yielded"
    """Another serves under this id."""


class Claim(enum.Enum):
    """What a presence says."""

    NEW = "new"
    KEPT = "kept"


class Heard(NamedTuple):
    """Somebody's presence: which boot it is of, and what it says."""

    boot: str
    claim: Claim


class Step(NamedTuple):
    """What to do now: publish this claim, and call `tick` after so many seconds."""

    publish: Claim | None = None
    tick_in_s: float | None = None


_NOTHING: Final = Step()


class Identity:
    """One device's claim to its id; `boot` tells it from another with the same."""

    def __init__(self, boot: str) -> None:
        self.boot = boot
        self.state = State.OFFLINE
        self.rival: str | None = None
        """The boot id of the other device, while there is one."""
        self.conflicts = 0
        """How often another was found alive under this id."""
        self._echoed = False
        self._yielded = False
        self._due_s: float | None = None
        self._keeps: list[float] = []
        self._restored_s = float("-inf")
        self._again_s = AGAIN_MIN_S

    @property
    def serving(self) -> bool:
        """Whether requests are to be answered."""
        return self.state is State.SERVING

    def connected(self, now: float) -> Step:
        """Subscribed: claim the id, or look whether who has it is still there."""
        self._echoed = False
        if self._yielded:
            self.state = State.YIELDED
            return self._due(now, AGAIN_MIN_S)
        self.state, self._due_s = State.SERVING, None
        return Step(publish=Claim.NEW)

    def disconnected(self) -> None:
        """No connection, so nobody to serve."""
        self.state, self._due_s = State.OFFLINE, None

    def withdrawn(self, now: float) -> Step:
        """Nobody's presence is there any more: ours is restored; another's leaves room for ours, after a pause."""
        match self.state:
            case State.YIELDED:
                return self._due(now, AGAIN_MIN_S)
            case State.ASKING:
                self.state, self.rival = State.SERVING, None
        if self.state is State.OFFLINE or not self._echoed:
            return _NOTHING
        return self._due(now, max(0.0, self._restored_s + RESTORE_S - now))

    def heard(self, other: Heard, now: float, *, retained: bool = False) -> Step:
        """A claim came, ours or another's; `retained`: it was there when we subscribed."""
        if self.state is State.OFFLINE:
            return _NOTHING
        if other.boot == self.boot:
            self._echoed = self._echoed or not retained
            return _NOTHING
        return self._heard_another(other, now, retained=retained)

    def tick(self, now: float) -> Step:
        """What is due by now."""
        if self._due_s is None:
            return _NOTHING
        if now < self._due_s:
            return Step(tick_in_s=self._due_s - now)
        self._due_s = None
        if self.state is State.YIELDED:
            self._yielded = False
            self.state, self.rival = State.SERVING, None
            return Step(publish=Claim.NEW)
        if self.state is State.ASKING:
            self.state, self.rival = State.SERVING, None
        self._restored_s = now
        return Step(publish=Claim.KEPT)

    def _heard_another(self, other: Heard, now: float, *, retained: bool) -> Step:
        if self.state is State.YIELDED:
            self.rival = other.boot
            return _NOTHING
        if retained or not self._echoed:
            self.state, self.rival = State.ASKING, other.boot
            return self._due(now, ANSWER_S)
        if other.claim is Claim.NEW:
            return self._answer(other.boot)
        if self.state is State.ASKING:
            return self._yield(other.boot, now)
        return self._insist(other.boot, now)

    def _answer(self, boot: str) -> Step:
        """Answer a newcomer; one who asks itself says what became of that when it knows."""
        if self.state is State.ASKING:
            return _NOTHING
        self.rival = boot
        self.conflicts += 1
        return Step(publish=Claim.KEPT)

    def _yield(self, boot: str, now: float) -> Step:
        self.state, self.rival, self._yielded = State.YIELDED, boot, True
        self.conflicts += 1
        pause_s, self._again_s = self._again_s, min(self._again_s * 2, AGAIN_MAX_S)
        return self._due(now, pause_s)

    def _insist(self, boot: str, now: float) -> Step:
        self._keeps = [at for at in self._keeps if now - at < KEEPS_WINDOW_S]
        if len(self._keeps) < KEEPS_MAX:
            self._keeps.append(now)
            self.rival = boot
            self.conflicts += 1
            return Step(publish=Claim.KEPT)
        if self.boot > boot:
            return self._yield(boot, now)
        return self._due(now, RESTORE_S)

    def _due(self, now: float, in_s: float) -> Step:
        self._due_s = now + in_s
        return Step(tick_in_s=in_s)
