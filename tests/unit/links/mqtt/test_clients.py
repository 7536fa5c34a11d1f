"""Whatever is claimed on the control topic, who is there stays there, and nobody comes in beyond the bounds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edged.errors import Overloaded
from edged.links.mqtt.mcp.clients import OPENING_MAX_BYTES, OPENING_S, OPENINGS_MAX, QUIET_S, Clients

IDLE_S, MAX = 1800.0, 3
NAMES = st.sampled_from([f"c{n}" for n in range(6)])


@dataclass
class Chair:
    tier: int = 1
    busy: bool = False


class Lobby(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clients: Clients[Chair] = Clients(MAX, IDLE_S)
        self.now = 0.0
        self.there: dict[str, Chair] = {}
        self.used: dict[str, float] = {}
        self.openings: dict[str, float] = {}

    @rule(name=NAMES, tier=st.integers(1, 3), busy=st.booleans())
    def come(self, name: str, tier: int, busy: bool) -> None:  # noqa: FBT001 - drawn
        if found := self.clients.find(name, self.now):
            assert found is self.there[name]
            self.used[name] = self.now
            return
        try:
            leaving = self.clients.leaving_for(tier, self.now)
        except Overloaded:
            assert len(self.there) == MAX
            assert all(
                chair.busy or (chair.tier >= tier and self.now - self.used[other] < QUIET_S)
                for other, chair in self.there.items()
            )
            return
        if leaving:
            assert not self.there[leaving].busy
            assert self.clients.remove(leaving) is self.there.pop(leaving)
        self.there[name] = Chair(tier, busy)
        self.used[name] = self.now
        self.clients.put(name, self.there[name], self.now)

    @rule(name=NAMES)
    def finish(self, name: str) -> None:
        if name in self.there:
            self.there[name].busy = False

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        assert self.clients.remove(name) is self.there.pop(name, None)

    @rule(name=NAMES)
    def claim(self, name: str) -> None:
        before = dict(self.clients.all())
        assert self.clients.open(name, b"initialize", None, self.now)
        self.openings[name] = self.now
        assert dict(self.clients.all()) == before

    @rule(name=NAMES, initialized=st.booleans())
    def go_on(self, name: str, initialized: bool) -> None:  # noqa: FBT001 - drawn
        opening = self.clients.go_on(name, self.now, initialized=initialized)
        claimed = name in self.openings and self.now - self.openings[name] <= OPENING_S
        assert (opening is not None) == (claimed and (initialized or name not in self.there))
        if opening:
            del self.openings[name]

    @rule(seconds=st.sampled_from([1.0, 31.0, 61.0, 1801.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        silent = {n for n, c in self.there.items() if not c.busy and self.now - self.used[n] >= IDLE_S}
        assert set(self.clients.expired(self.now)) == silent

    @invariant()
    def who_is_there_is_there(self) -> None:
        assert dict(self.clients.all()) == self.there
        assert len(self.clients) <= MAX


TestLobby = Lobby.TestCase
TestLobby.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_claims_are_bounded_and_the_oldest_makes_room() -> None:
    clients: Clients[Chair] = Clients(MAX, IDLE_S)
    for n in range(OPENINGS_MAX + 1):
        clients.open(f"c{n}", b"x", None, 0)
    assert clients.opening == OPENINGS_MAX
    assert clients.go_on("c0", 0, initialized=True) is None
    assert clients.go_on("c1", 0, initialized=True) is not None
    assert not clients.open("long", b"x" * (OPENING_MAX_BYTES + 1), None, 0)


def test_a_client_cannot_be_there_twice() -> None:
    clients: Clients[Chair] = Clients(MAX, IDLE_S)
    clients.put("a", Chair(), 0)
    with pytest.raises(ValueError, match="already"):
        clients.put("a", Chair(), 0)
