from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edged.tools.ticking import Ticker
from tests.rig.fastloop import FastLoop


class World:
    """Something to watch."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {"edged://a": 0, "edged://b": 0}
        self.told: list[tuple[str, float]] = []
        self.looks = 0
        self.ticker = Ticker(self._pulse, self._tell)

    def watch(self, *uris: str) -> None:
        for uri in uris:
            self.ticker.watch(uri, True)

    def leave(self, uri: str) -> None:
        self.ticker.watch(uri, False)

    def _pulse(self, uri: str) -> object:
        self.looks += 1
        return self.values.get(uri)

    def _tell(self, uri: str) -> None:
        self.told.append((uri, asyncio.get_running_loop().time()))


def run(test: Callable[[World, FastLoop], Awaitable[None]]) -> None:
    loop = FastLoop(100.25)

    async def main() -> None:
        world = World()
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(world.ticker.run())
            await test(world, loop)
            ticking.cancel()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_change_is_told_at_the_next_whole_second_and_once() -> None:
    async def scenario(world: World, _loop: FastLoop) -> None:
        world.watch("edged://a", "edged://b")
        world.values["edged://a"] = 1
        await asyncio.sleep(5)
        assert world.told == [("edged://a", 101.0)]
        world.values |= {"edged://a": 2, "edged://b": 1}
        await asyncio.sleep(5)
        assert world.told[1:] == [("edged://a", 106.0), ("edged://b", 106.0)]

    run(scenario)


def test_many_changes_within_a_second_are_one() -> None:
    async def scenario(world: World, _loop: FastLoop) -> None:
        world.watch("edged://a")
        for number in range(1, 90):
            world.values["edged://a"] = number
            await asyncio.sleep(0.1)
        assert 8 <= len(world.told) <= 9

    run(scenario)


def test_it_sleeps_without_a_timer_while_nobody_watches() -> None:
    async def scenario(world: World, loop: FastLoop) -> None:
        await asyncio.sleep(3600)
        assert loop.wakeups == 1  # the test's own
        world.watch("edged://a")
        await asyncio.sleep(60)
        watched = loop.wakeups
        assert watched <= 62
        world.leave("edged://a")
        await asyncio.sleep(3600)
        assert loop.wakeups <= watched + 2
        assert world.told == []

    run(scenario)


def test_it_goes_on_when_somebody_watches_again() -> None:
    async def scenario(world: World, _loop: FastLoop) -> None:
        world.watch("edged://a")
        await asyncio.sleep(2)
        world.leave("edged://a")
        await asyncio.sleep(2)
        world.values["edged://a"] = 1
        world.watch("edged://a")
        await asyncio.sleep(2)
        assert world.told == []  # it was like this when they came
        world.values["edged://a"] = 2
        await asyncio.sleep(2)
        assert [uri for uri, _ in world.told] == ["edged://a"]

    run(scenario)


def test_what_is_not_live_costs_no_tick() -> None:
    async def scenario(world: World, loop: FastLoop) -> None:
        world.watch("edged://config")
        looks = world.looks
        await asyncio.sleep(600)
        assert (world.looks, loop.wakeups) == (looks, 1)

    run(scenario)


def test_what_comes_alive_while_it_is_watched_is_ticked_for_once_it_is_reconsidered() -> None:
    async def scenario(world: World, _loop: FastLoop) -> None:
        world.watch("edged://new")
        world.values["edged://new"] = 0
        world.ticker.reconsider()
        world.values["edged://new"] = 1
        await asyncio.sleep(2)
        assert [uri for uri, _ in world.told] == ["edged://new"]

    run(scenario)


def test_what_goes_away_while_it_is_watched_is_told_as_a_change() -> None:
    async def scenario(world: World, _loop: FastLoop) -> None:
        world.watch("edged://a")
        del world.values["edged://a"]
        await asyncio.sleep(3)
        assert [uri for uri, _ in world.told] == ["edged://a"]

    run(scenario)
