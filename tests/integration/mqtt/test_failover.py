"""A connection that has a list of brokers, and brokers that fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import Unreachable
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.values import Publication
from tests.rig.broker import OpenBroker, free_port, running
from tests.rig.mqtt import online, until
from tests.rig.wire import Proxy

QUICK = 1  # the shortest keepalive there is


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[OpenBroker, OpenBroker]]:
    first, second = OpenBroker(tmp_path / "first"), OpenBroker(tmp_path / "second")
    with running(first, second):
        yield first, second


def config(*urls: str, **settings: object) -> MqttConfig:
    return MqttConfig(brokers=urls, keepalive_s=QUICK, **settings)  # type: ignore[arg-type] # any of its fields


def test_a_broker_that_falls_silent_is_left_for_the_second_and_gone_back_to_when_it_has_proven_itself(
    two: tuple[OpenBroker, OpenBroker],
) -> None:
    first, second = two
    will = Publication(topic="presence/x", retain=True)

    async def scenario() -> None:
        trying = config(first.url, second.url, back_after_s=0.5, probe_s=0.2, connect_s=1.0)
        async with online(trying, "x", name="roamer", will=will) as line:
            assert line.ear.terms[0].broker == first.url
            first.freeze()
            assert (await line.ear.connections(2)).broker == second.url
            assert "silent" in line.ear.reasons[0]
            await line.say("presence/x", b"here", retain=True)
            first.thaw()
            assert (await line.ear.connections(3)).broker == first.url
            assert "back to" in line.ear.reasons[1]
            await line.say("x")
            await line.ear.messages(1)
        async with online(config(second.url), "presence/#", "after") as onlooker:
            await onlooker.say("after")
            assert [heard.topic for heard in await onlooker.ear.messages(1)] == ["after"]

    asyncio.run(scenario())


def test_a_network_that_swallows_everything_is_a_silent_broker(two: tuple[OpenBroker, OpenBroker]) -> None:
    first, second = two

    async def scenario(proxy: Proxy) -> None:
        async with online(config(proxy.url, second.url)) as line:
            proxy.hole()
            lost = line.connection.publish(Publication(topic="x"))
            with pytest.raises(Unreachable, match="silent"):
                await lost
            assert (await line.ear.connections(2)).broker == second.url

    with Proxy(first.port) as proxy:
        asyncio.run(scenario(proxy))


def test_a_slow_network_is_not_a_silent_one(two: tuple[OpenBroker, OpenBroker]) -> None:
    async def scenario(proxy: Proxy) -> None:
        async with online(config(proxy.url), "x") as line:
            for _ in range(20):
                line.connection.publish(Publication(topic="x", payload=bytes(100_000)))
            await line.ear.messages(20)
            assert len(line.ear.terms) == 1

    with Proxy(two[0].port) as proxy:
        proxy.delay_s = 0.02
        asyncio.run(scenario(proxy))


def test_a_connection_that_is_idle_is_kept(two: tuple[OpenBroker, OpenBroker]) -> None:
    async def scenario() -> None:
        async with online(config(two[0].url), "$SYS/broker/uptime", name="idle") as line:
            await until(lambda: two[0].log.count("Sending PINGRESP to idle") > 0)
            assert len(line.ear.terms) == 1
            assert line.ear.reasons == []

    asyncio.run(scenario())


def test_a_client_that_only_believes_to_be_connected_is_found_out(two: tuple[OpenBroker, OpenBroker]) -> None:
    async def scenario() -> None:
        async with online(config(two[0].url)) as line:
            assert line.connection._session
            asyncio.get_running_loop().remove_reader(line.connection._session._wire.fileno())
            await line.ear.losses(1)
            assert "silent" in line.ear.reasons[0]
            await line.ear.connections(2)

    asyncio.run(scenario())


def test_a_broker_that_restarts_is_waited_for_though_there_is_a_second(
    two: tuple[OpenBroker, OpenBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.links.mqtt.brokers.SETTLED_S", 0.0)
    monkeypatch.setattr("edged.links.mqtt.connection.SETTLED_S", 0.0)
    first, second = two

    async def scenario() -> None:
        async with online(config(first.url, second.url)) as line:
            first.stop()
            first.start()
            assert (await line.ear.connections(2)).broker == first.url

    asyncio.run(scenario())


def test_a_broker_that_is_not_there_is_passed_over_and_its_place_remembered(
    two: tuple[OpenBroker, OpenBroker], tmp_path: Path
) -> None:
    _, second = two
    late = OpenBroker(tmp_path / "late", port=free_port())

    async def scenario() -> None:
        async with online(config(late.url, second.url, back_after_s=0.2, probe_s=0.1)) as line:
            assert line.ear.terms[0].broker == second.url
            late.start()
            assert (await line.ear.connections(2)).broker == late.url
            late.kill()
            assert (await line.ear.connections(3)).broker == second.url

    with running(late):
        late.stop()
        asyncio.run(scenario())


def test_when_no_broker_answers_all_are_tried_until_one_does(two: tuple[OpenBroker, OpenBroker]) -> None:
    first, second = two

    async def scenario() -> None:
        async with online(config(first.url, second.url), wait=False) as line:
            await until(lambda: line.connection.health.reason.startswith(second.url))
            assert line.connection.health.broker is None
            second.start()
            assert (await line.ear.connections(1)).broker == second.url

    first.kill()
    second.kill()
    asyncio.run(scenario())


def test_a_broker_that_takes_connections_and_says_nothing_is_passed_over(
    two: tuple[OpenBroker, OpenBroker],
) -> None:
    first, second = two

    async def scenario(proxy: Proxy) -> None:
        async with online(config(proxy.url, second.url, connect_s=0.5)) as line:
            assert line.ear.terms[0].broker == second.url

    with Proxy(first.port) as proxy:
        proxy.hole()
        asyncio.run(scenario(proxy))
