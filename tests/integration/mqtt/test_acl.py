"""Every direction that the shipped access rules allow, and every other one that matters, with client certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import client_id
from edged.links.mqtt.values import Publication
from tests.rig.broker import running
from tests.rig.mqtt import online, until
from tests.rig.shipped import ShippedBroker
from tests.rig.wire import Proxy

NOT_AUTHORIZED = 0x87
EVERYTHING = ("#", "$mcp-server/#", "$mcp-client/#", "$mcp-rpc/#", "$share/g/$mcp-rpc/#")

# Topics, and who may write (w) and read (r) them: device dev-42, client agent-7, fleet-manager, homeassistant.
TABLE = """
$mcp-server/dev-42/edged/vision                     dev-42:r   agent-7:w fleet-manager:w homeassistant:w
$mcp-server/dev-43/edged/vision                                agent-7:w fleet-manager:w homeassistant:w
$mcp-server/dev-42/other/thing                      dev-42:r
$mcp-server/presence/dev-42/edged/vision            dev-42:rw  agent-7:r fleet-manager:r homeassistant:r
$mcp-server/presence/dev-43/edged/vision                       agent-7:r fleet-manager:r homeassistant:r
$mcp-server/presence/agent-7/edged/vision                      agent-7:r fleet-manager:r homeassistant:r
$mcp-server/presence/edged/vision
$mcp-server/presence/edged/edged/vision
$mcp-server/presence                                           agent-7:r fleet-manager:r homeassistant:r
$mcp-server/capability/dev-42/edged/vision          dev-42:w   agent-7:r fleet-manager:r homeassistant:r
$mcp-server/capability/dev-43/edged/vision                     agent-7:r fleet-manager:r homeassistant:r
$mcp-server/capability/edged/vision
$mcp-client/presence/agent-7                        dev-42:r   agent-7:w
$mcp-client/presence/agent-8                        dev-42:r
$mcp-client/presence/dev-42                         dev-42:r
$mcp-client/capability/agent-7                      dev-42:r   agent-7:w
$mcp-client/capability/agent-8                      dev-42:r
$mcp-rpc/agent-7/dev-42/edged/vision                dev-42:rw  agent-7:rw
$mcp-rpc/agent-7/dev-43/edged/vision                           agent-7:rw
$mcp-rpc/agent-8/dev-42/edged/vision                dev-42:rw
$mcp-rpc/agent-8/dev-43/edged/vision
$mcp-rpc/dev-42/dev-43/edged/vision
$mcp-rpc/dev-42/agent-7/edged/vision
$mcp-rpc/agent-8/agent-7/edged/vision
$mcp-rpc/agent-7/dev-42                             dev-42:rw
edged/v1/dev-42/dn/config                           dev-42:r   fleet-manager:w
edged/v1/dev-43/dn/config                                      fleet-manager:w
edged/v1/dev-42/up/status                           dev-42:rw  fleet-manager:r homeassistant:r
edged/v1/dev-42/up/alert                            dev-42:w   fleet-manager:r homeassistant:r
edged/v1/dev-43/up/status                                      fleet-manager:r homeassistant:r
edged/v1/dev-42/other
homeassistant/device/dev-42/config                  dev-42:rw  homeassistant:r
homeassistant/device/dev-43/config                             homeassistant:r
homeassistant/sensor/dev-42/config                             homeassistant:r
homeassistant/status                                dev-42:r   homeassistant:rw
$SYS/broker/uptime
anything/else
"""
RULES = {
    fields[0]: dict(entry.split(":") for entry in fields[1:])
    for fields in map(str.split, TABLE.strip().splitlines())
}
WHO = ("dev-42", "agent-7", "fleet-manager", "homeassistant")


def topics(who: str, right: str) -> set[str]:
    return {topic for topic, rights in RULES.items() if right in rights.get(who, "")}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedBroker]:
    made = ShippedBroker(tmp_path_factory.mktemp("broker"))
    with running(made):
        yield made


def config(broker: ShippedBroker, who: str) -> MqttConfig:
    return broker.device(who) if who.startswith("dev-") else broker.client(who)


@pytest.mark.parametrize("who", WHO)
def test_each_may_write_exactly_what_is_its_own(broker: ShippedBroker, who: str) -> None:
    async def scenario() -> None:
        async with online(config(broker, who), name=f"{who}-w") as line:
            codes = {topic: await line.say(topic, b"x") for topic in RULES}
            assert {topic for topic, code in codes.items() if code != NOT_AUTHORIZED} == topics(who, "w")
            retained = {topic: await line.say(topic, b"", retain=True) for topic in RULES}
            assert {topic for topic, code in retained.items() if code != NOT_AUTHORIZED} == topics(who, "w")

    asyncio.run(scenario())


@pytest.mark.parametrize("who", WHO)
def test_each_hears_exactly_what_is_meant_for_it_though_it_subscribes_to_everything(
    broker: ShippedBroker, who: str
) -> None:
    last = max(topics(who, "r"))

    async def scenario() -> None:
        async with online(config(broker, who), *EVERYTHING, name=f"{who}-r") as line:
            async with online(broker.admin, name="admin") as admin:
                for topic in RULES:
                    if not topic.startswith("$SYS"):
                        assert await admin.say(topic, b"x") != NOT_AUTHORIZED
                await admin.say(last, b"the end")
            await line.ear.until(lambda ear: any(heard.payload == b"the end" for heard in ear.heard))
            assert {heard.topic for heard in line.ear.heard} == topics(who, "r")

    asyncio.run(scenario())


def test_a_forbidden_will_is_not_said(broker: ShippedBroker) -> None:
    async def scenario(proxy: Proxy) -> None:
        forged = Publication(topic="$mcp-server/presence/dev-42/edged/vision", payload=b"gone", retain=True)
        agent = broker.client()
        through = MqttConfig(
            brokers=(f"mqtts://127.0.0.1:{proxy.port}",), ca=agent.ca, cert=agent.cert, key=agent.key
        )
        async with online(broker.admin, "$mcp-server/#", "after", name="admin") as admin:
            async with online(through, name="forger", will=forged) as line:
                proxy.cut()
                await line.ear.connections(2)
            await admin.say("after")
            assert [heard.topic for heard in await admin.ear.messages(1)] == ["after"]

    with Proxy(broker.client_port) as proxy:
        asyncio.run(scenario(proxy))


def test_nobody_evicts_a_device_by_taking_its_name(broker: ShippedBroker) -> None:
    async def scenario() -> None:
        device = broker.device()
        async with online(device, "edged/v1/dev-42/dn/#", name=client_id(device.client_id, "dev-42")) as line:
            async with online(broker.client(), name="dev-42"), online(broker.admin, name="dev-42.m") as admin:
                await admin.say("edged/v1/dev-42/dn/config", b"x")
                await line.ear.messages(1)
            assert line.ear.reasons == []

    asyncio.run(scenario())


@pytest.mark.parametrize("who", ["dev-42", "agent-7"])
def test_the_wrong_door_stays_closed(broker: ShippedBroker, who: str) -> None:
    right = config(broker, who)
    port = broker.client_port if who == "dev-42" else broker.device_port
    wrong = MqttConfig(brokers=(f"mqtts://127.0.0.1:{port}",), ca=right.ca, cert=right.cert, key=right.key)

    async def scenario() -> None:
        async with online(wrong, wait=False) as line:
            await until(lambda: line.connection.health.reason != "not connected yet")
            assert "unknown ca" in line.connection.health.reason.lower()
            assert line.connection.health.connects == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["dev-42/#", "+", "#"])
def test_a_certificate_with_a_wildcard_for_a_name_may_do_nothing(broker: ShippedBroker, name: str) -> None:
    identity = broker.devices.client(name.replace("/", "_"))

    async def scenario() -> None:
        device = broker.device()
        odd = MqttConfig(brokers=device.brokers, ca=device.ca, cert=str(identity.cert), key=str(identity.key))
        async with online(odd, name="odd") as line:
            for topic in RULES:
                assert await line.say(topic) == NOT_AUTHORIZED or topic == "homeassistant/status"

    asyncio.run(scenario())
