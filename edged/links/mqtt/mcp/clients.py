"""Who is there: the clients that talk, and those that asked to on the control topic.

Pure. On the control topic anybody can claim any client id, so an `initialize` there is only remembered, within
bounds; it becomes a session when the client's own RPC topic, which the broker guards, goes on with it. Until then
nothing of a client that talks already is touched.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from edged.errors import Overloaded

QUIET_S: Final = 60.0
"""How long a client must have been idle before it makes room for another of its own tier."""
_RETRY_AFTER_S: Final = 5.0
OPENINGS_MAX: Final = 64
OPENING_MAX_BYTES: Final = 16 * 1024
OPENING_S: Final = 30.0
"""How long a handshake may take. Source: the specification's timeout of `initialize`."""


class Seat(Protocol):
    """A client that talks, as far as making room goes."""

    @property
    def busy(self) -> bool:
        """Whether something runs for it."""

    @property
    def tier(self) -> int:
        """What it may do: a higher one goes before a lower."""


S = TypeVar("S", bound=Seat)


class Opening(NamedTuple):
    """An `initialize` whose sender is not known yet."""

    payload: bytes
    declared_bytes: int | None
    """The largest message the client says it takes."""
    at_s: float


class Clients(Generic[S]):
    """Who is there, by client id."""

    def __init__(self, sessions_max: int, idle_s: float) -> None:
        self._max = sessions_max
        self._idle_s = idle_s
        self._seats: dict[str, S] = {}
        self._used_s: dict[str, float] = {}
        self._openings: OrderedDict[str, Opening] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, client: str) -> bool:
        return client in self._seats

    def get(self, client: str) -> S | None:
        """The client's session, without thereby using it."""
        return self._seats.get(client)

    @property
    def opening(self) -> int:
        """How many asked on the control topic and did not go on yet."""
        return len(self._openings)

    def all(self) -> list[tuple[str, S]]:
        """Everybody who is there."""
        return list(self._seats.items())

    def find(self, client: str, now: float) -> S | None:
        """The client's session, which is thereby used."""
        seat = self._seats.get(client)
        if seat is not None:
            self._used_s[client] = now
        return seat

    def leaving_for(self, tier: int, now: float) -> str | None:
        """Who has to leave for a newcomer of this tier, if anybody; raises Overloaded where nobody may."""
        if len(self._seats) < self._max:
            return None
        idle = [
            (seat.tier, self._used_s[client], client)
            for client, seat in self._seats.items()
            if not seat.busy and (seat.tier < tier or now - self._used_s[client] >= QUIET_S)
        ]
        if not idle:
            raise Overloaded(f"{self._max} clients are served already", _RETRY_AFTER_S)
        return min(idle)[2]

    def put(self, client: str, seat: S, now: float) -> None:
        """Have a client there; it must not be."""
        if client in self._seats:
            raise ValueError(f"{client!r} is there already")
        self._seats[client] = seat
        self._used_s[client] = now

    def remove(self, client: str) -> S | None:
        """Have it there no more; its session, where there was one."""
        self._used_s.pop(client, None)
        return self._seats.pop(client, None)

    def expired(self, now: float) -> list[str]:
        """Clients that were not heard of for too long and for whom nothing runs."""
        self._forget_openings(now)
        return [
            client
            for client, seat in self._seats.items()
            if not seat.busy and now - self._used_s[client] >= self._idle_s
        ]

    def open(self, client: str, payload: bytes, declared_bytes: int | None, now: float) -> bool:
        """Remember an `initialize` from the control topic, in place of an earlier one; False where it is too long."""
        self._forget_openings(now)
        self._openings.pop(client, None)
        if len(payload) > OPENING_MAX_BYTES:
            return False
        if len(self._openings) >= OPENINGS_MAX:
            self._openings.popitem(last=False)
        self._openings[client] = Opening(payload, declared_bytes, now)
        return True

    def go_on(self, client: str, now: float, *, initialized: bool) -> Opening | None:
        """The `initialize` that a message of the handshake era on the client's RPC topic goes on with.

        Where the client has a session only `notifications/initialized` does: whoever sent that knows of the new one.
        """
        self._forget_openings(now)
        if client in self._seats and not initialized:
            return None
        return self._openings.pop(client, None)

    def withdraw(self, client: str) -> None:
        """Forget an `initialize` that is not gone on with."""
        self._openings.pop(client, None)

    def clear(self) -> list[S]:
        """Have nobody there; those who were."""
        seats = list(self._seats.values())
        self._seats.clear()
        self._used_s.clear()
        self._openings.clear()
        return seats

    def _forget_openings(self, now: float) -> None:
        while self._openings:
            client, opening = next(iter(self._openings.items()))
            if now - opening.at_s <= OPENING_S:
                return
            del self._openings[client]
