"""Sessions and their time, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edged.errors import Overloaded
from edged.links.config import HttpConfig
from edged.links.http_response import Fields, Response
from edged.links.http_session import HttpSession, Sessions
from edged.mcp.catalog import Principal, Tier
from tests.rig.echo_server import server
from tests.rig.http_talk import message

ADA = Principal("uid:1000", ("edged",), Tier.ACT)
BOB = Principal("uid:1001", ("edged",), Tier.ACT)


class Clock(asyncio.SelectorEventLoop):
    """A loop that can be moved ahead."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s

    async def pass_time(self, seconds: float) -> None:
        """Let that much time pass and everything due happen."""
        self.ahead_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)


class Sink:
    """Takes a response as a connection would, and keeps it."""

    def __init__(self) -> None:
        self.sent = b""
        self.ended = False

    def start(self, status: int, fields: Fields) -> None:
        self.sent += f"{status} {list(fields)} ".encode()

    def carry(self, data: bytes) -> None:
        self.sent += data

    def complete(self) -> None:
        self.ended = True


class Room:
    """Sessions, and the group their handlers run in."""

    def __init__(self, config: HttpConfig, tasks: asyncio.TaskGroup) -> None:
        self.sessions = Sessions(config)
        self._server = server()
        self._tasks = tasks

    def begin(self, principal: Principal = ADA) -> HttpSession:
        session = self.sessions.begin(self._server, principal, self._tasks)
        stream = session.streams.begin([0], primes=False)
        stream.attach(Response(Sink(), 15))
        session.receive(message("initialize", {"protocolVersion": "2025-11-25"}, 0), stream)
        assert session.agreed
        return session


def play(scenario: Callable[[Clock, Room], Awaitable[None]], config: HttpConfig | None = None) -> None:
    loop = Clock()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            room = Room(config or HttpConfig(), tasks)
            await scenario(loop, room)
            room.sessions.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_an_id_cannot_be_guessed_and_serves_nobody_else() -> None:
    async def scenario(_clock: Clock, room: Room) -> None:
        one, other = room.begin(ADA), room.begin(ADA)
        assert one.id != other.id
        assert len(one.id) >= 32
        assert room.sessions.find(one.id, ADA) is one
        assert room.sessions.find(one.id, BOB) is None, "another uid's session does not exist"

    play(scenario)


def test_a_session_nobody_uses_ends_and_one_that_is_used_lives() -> None:
    async def scenario(clock: Clock, room: Room) -> None:
        idle, used = room.begin(), room.begin()
        for _ in range(3):
            await clock.pass_time(1000)
            assert room.sessions.find(used.id, ADA) is used
        assert room.sessions.find(idle.id, ADA) is None
        await clock.pass_time(1801)
        assert len(room.sessions) == 0

    play(scenario)


def test_a_session_somebody_listens_to_lives() -> None:
    async def scenario(clock: Clock, room: Room) -> None:
        session, sink = room.begin(), Sink()
        session.listen(Response(sink, 1e9), None)
        for _ in range(3):
            await clock.pass_time(1801)
        assert len(room.sessions) == 1
        session.close()
        assert sink.ended
        assert len(room.sessions) == 0

    play(scenario)


def test_a_session_whose_call_runs_lives_until_it_has_ended() -> None:
    async def scenario(clock: Clock, room: Room) -> None:
        session = room.begin()
        stream = session.streams.begin([1], primes=False)
        session.receive(message("tools/call", {"name": "wait"}), stream)
        await clock.pass_time(1801)
        assert len(room.sessions) == 1
        session.receive(message("notifications/cancelled", {"requestId": 1}, None), None)
        await clock.pass_time(1801)
        await clock.pass_time(1801)
        assert len(room.sessions) == 0

    play(scenario)


def test_the_one_idle_longest_makes_room_for_its_own_principal_alone() -> None:
    async def scenario(clock: Clock, room: Room) -> None:
        first = room.begin(ADA)
        await clock.pass_time(1)
        second = room.begin(ADA)
        await clock.pass_time(1)
        room.sessions.find(first.id, ADA)
        third = room.begin(ADA)
        assert room.sessions.find(second.id, ADA) is None
        with pytest.raises(Overloaded):
            room.begin(BOB)
        for session in (first, third):
            session.listen(Response(Sink(), 1e9), None)
        with pytest.raises(Overloaded):
            room.begin(ADA)

    play(scenario, HttpConfig(sessions_max=2))
