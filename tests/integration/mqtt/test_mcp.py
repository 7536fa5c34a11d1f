"""MCP over a real mosquitto: found, called, guarded, outlived; also with nothing but its own command-line clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp.link import McpLink
from edged.links.mqtt.mcp.service import McpService
from edged.links.mqtt.values import Properties, Publication, Subscription
from edged.mcp.access import Access
from edged.mcp.config import AccessConfig
from edged.mcp.server import Server
from tests.rig.broker import Broker, OpenBroker, running
from tests.rig.desk import MODERN
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.mqtt import Line, online, until
from tests.rig.mqtt_acl import GuardedBroker

ID, NAME = "cam1", "edged/vision"
PRESENCE = f"$mcp-server/presence/{ID}/{NAME}"
TIERS = AccessConfig(principals={"mqtt:agent-7": "act", "mqtt:boss": "operator"})
CLI_S = 30


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedBroker]:
    broker = GuardedBroker(tmp_path / "broker", "agent-7", "boss")
    with running(broker):
        yield broker


@contextlib.asynccontextmanager
async def device(url: str, boot: str = "boot-a", **settings: Any) -> AsyncIterator[McpLink]:
    """The service, serving or kept from it by another of its id."""
    config = MqttConfig(brokers=(url,), username=ID, **settings)
    server = Server(catalog(), INFO, None, METHODS)
    service = McpService(server, Access(TIERS, 0), config, device=ID, boot_id=boot, description="A camera")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.run())
        try:
            await until(lambda: service.link.status.access != "unproven")
            yield service.link
        finally:
            service.close()


@contextlib.asynccontextmanager
async def client(url: str, name: str, **settings: Any) -> AsyncIterator[Line]:
    config = MqttConfig(brokers=(url,), username=name, **settings)
    rpc = Subscription(filter=f"$mcp-rpc/{name}/{ID}/{NAME}", no_local=True)
    will = Publication(
        topic=f"$mcp-client/presence/{name}",
        payload=b'{"jsonrpc":"2.0","method":"notifications/disconnected"}',
    )
    async with online(config, rpc, f"$mcp-server/presence/+/{NAME}", name=name, will=will) as line:
        yield line


async def ask(line: Line, name: str, method: str, params: Any, request_id: int = 1, **properties: Any) -> Any:
    """The answer to a request of the stateless era."""
    topic = f"$mcp-rpc/{name}/{ID}/{NAME}"
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {**params, "_meta": MODERN}}
    in_cbor = properties.get("content_type") == "application/cbor"
    payload = cbor2.dumps(message) if in_cbor else json.dumps(message).encode()
    before = len(line.ear.heard)
    code = await line.say(topic, payload, properties=Properties(**properties))
    assert code < 0x80, hex(code)
    await line.ear.messages(before + 1)
    answer = next(p for p in line.ear.heard[before:] if p.topic == topic)
    return cbor2.loads(answer.payload) if in_cbor else json.loads(answer.payload)


def test_a_client_finds_the_device_and_calls_it_with_its_own_tier(guarded: GuardedBroker) -> None:
    async def scenario() -> None:
        async with device(guarded.url) as link, client(guarded.url, "agent-7") as line:
            await line.ear.messages(1)
            found = json.loads(line.ear.heard[0].payload)
            assert (line.ear.heard[0].retain, found["params"]["server_name"]) == (True, NAME)
            answer = await ask(line, "agent-7", "tools/call", {"name": "paint", "arguments": {}})
            assert answer["result"]["content"][1]["type"] == "image"
            assert link.status.access == "guarded"
            call = {"name": "weigh", "arguments": {"data": bytes(200_000)}}
            heavy = await ask(line, "agent-7", "tools/call", call, 2, content_type="application/cbor")
            assert heavy["result"]["structuredContent"]["length"] == 200_000

    asyncio.run(scenario())


def test_nobody_speaks_on_a_topic_of_another_there(guarded: GuardedBroker) -> None:
    async def scenario() -> None:
        async with device(guarded.url) as link, client(guarded.url, "agent-7") as line:
            for topic in (
                f"$mcp-rpc/boss/{ID}/{NAME}",
                "$mcp-client/presence/boss",
                PRESENCE,
                f"$mcp-server/capability/{ID}/{NAME}",
            ):
                assert await line.say(topic, b"{}") == 0x87, topic
            await ask(line, "agent-7", "tools/list", {})
            assert link.status.clients == 1

    asyncio.run(scenario())


def test_where_the_broker_guards_nothing_nobody_may_do_more_than_read(tmp_path: Path) -> None:
    broker = OpenBroker(tmp_path / "broker")

    async def scenario() -> None:
        async with device(broker.url) as link, client(broker.url, "boss") as line:
            assert link.status.access == "open"
            listed = await ask(line, "boss", "tools/list", {})
            assert {"paint", "remove"}.isdisjoint(tool["name"] for tool in listed["result"]["tools"])

    with running(broker):
        asyncio.run(scenario())


def test_the_presence_goes_with_the_device_and_comes_back_when_a_late_will_took_it(
    guarded: GuardedBroker,
) -> None:
    async def scenario() -> None:
        async with client(guarded.url, "agent-7") as line:
            async with device(guarded.url) as link:
                await line.ear.messages(1)
                config = MqttConfig(brokers=(guarded.url,), username=ID)
                async with online(config, name="janitor") as janitor:
                    await janitor.say(PRESENCE, retain=True)
                await line.ear.messages(3)
                assert [bool(p.payload) for p in line.ear.heard] == [True, False, True]
                assert link.status.identity == "serving"
            await line.ear.messages(4)
            assert line.ear.heard[-1].payload == b""

    asyncio.run(scenario())


def test_of_two_devices_with_one_identity_one_serves_and_both_tell(guarded: GuardedBroker) -> None:
    async def scenario() -> None:
        async with device(guarded.url, "boot-z") as first, device(guarded.url, "boot-a") as second:
            await until(lambda: second.status.identity == "yielded")
            assert (first.status.identity, first.status.rival) == ("serving", "boot-a")
            assert second.status.rival == "boot-z"
            async with client(guarded.url, "agent-7") as line:
                await line.ear.messages(1)
                meta = json.loads(line.ear.heard[0].payload)["params"]["meta"]
                assert (meta["bootId"], meta["claim"]) == ("boot-z", "kept")
                assert "result" in await ask(line, "agent-7", "tools/list", {})
                answers = [p for p in line.ear.heard if p.topic.startswith("$mcp-rpc")]
                assert len(answers) == 1

    asyncio.run(scenario())


def test_losing_the_broker_ends_calls_and_the_device_is_found_again_on_its_return(
    guarded: GuardedBroker,
) -> None:
    async def scenario() -> None:
        async with device(guarded.url, retry_max_s=1.0) as link:
            async with client(guarded.url, "agent-7") as line:
                call = {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "wait", "_meta": MODERN},
                }
                await line.say(f"$mcp-rpc/agent-7/{ID}/{NAME}", json.dumps(call).encode())
                await until(lambda: link.status.clients == 1)
                guarded.kill()
                await until(lambda: link.status.identity == "offline")
                assert link.status.clients == 0
            guarded.start()
            async with client(guarded.url, "agent-7") as line:
                await line.ear.messages(1)
                waiting = await ask(line, "agent-7", "tools/call", {"name": "waiting", "arguments": {}})
                assert waiting["result"]["structuredContent"] == {"text": "0"}

    asyncio.run(scenario())


def test_a_client_that_vanishes_is_told_of_by_its_will(guarded: GuardedBroker) -> None:
    async def scenario() -> None:
        async with device(guarded.url) as link, client(guarded.url, "agent-7") as line:
            await ask(line, "agent-7", "tools/list", {})
            assert link.status.clients == 1
            session = line.connection._session
            assert session
            session._wire.close()
            await until(lambda: link.status.clients == 0)

    asyncio.run(scenario())


class Cli:
    """Debian's mosquitto_pub and mosquitto_sub."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.common = ["-V", "5", "-h", "127.0.0.1", "-p", str(broker.port), "-u", name]
        self.rpc = f"$mcp-rpc/{name}/{ID}/{NAME}"
        self.name = name

    def publish(self, topic: str, message: Any, *more: str) -> None:
        text = json.dumps(message)
        command = [
            "mosquitto_pub",
            *self.common,
            "-i",
            f"{self.name}-pub",
            "-t",
            topic,
            "-m",
            text,
            "-q",
            "1",
            *more,
        ]
        subprocess.run(command, check=True, timeout=CLI_S)

    def subscribe(self, topic: str, count: int) -> subprocess.Popen[bytes]:
        """Prints that many payloads, a line each, and ends."""
        how = ["-i", self.name, "-t", topic, "-q", "1", "-C", str(count), "-W", str(CLI_S)]
        return subprocess.Popen(["mosquitto_sub", *self.common, *how], stdout=subprocess.PIPE)


def test_a_session_with_nothing_but_mosquitto_pub_and_sub(guarded: GuardedBroker) -> None:
    cli = Cli(guarded, "agent-7")
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "sh", "version": "0"}}
    who = ("-D", "publish", "user-property", "MCP-MQTT-CLIENT-ID", "agent-7")

    def talk(sub: subprocess.Popen[bytes]) -> list[Any]:
        initialize = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": info}
        cli.publish(f"$mcp-server/{ID}/{NAME}", initialize, *who)
        cli.publish(cli.rpc, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        cli.publish(cli.rpc, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "paint"}})
        discover = {"jsonrpc": "2.0", "id": "d", "method": "server/discover", "params": {"_meta": MODERN}}
        cli.publish(cli.rpc, discover)
        out, _ = sub.communicate(timeout=CLI_S)
        return [json.loads(line) for line in out.splitlines()]

    async def scenario() -> list[Any]:
        async with device(guarded.url):
            sub = cli.subscribe(cli.rpc, 6)  # what it sends itself comes back, for it is two clients
            await until(lambda: "Sending SUBACK to agent-7\n" in guarded.log)
            return await asyncio.to_thread(talk, sub)

    answers = {message["id"]: message["result"] for message in asyncio.run(scenario()) if "result" in message}
    assert list(answers) == [0, 1, "d"]
    assert answers[0]["protocolVersion"] == "2025-06-18"
    assert answers[1]["content"][1]["type"] == "image"
    assert answers["d"]["supportedVersions"] == ["2026-07-28"]


def test_a_message_that_expires_bounds_the_call_and_its_answer(guarded: GuardedBroker) -> None:
    async def scenario() -> None:
        async with device(guarded.url), client(guarded.url, "agent-7") as line:
            await ask(line, "agent-7", "tools/list", {}, expiry_s=20)
            answer = line.ear.heard[-1]
            assert answer.properties.expiry_s is not None
            assert 0 < answer.properties.expiry_s <= 20
            assert dict(answer.properties.user)["MCP-COMPONENT-TYPE"] == "mcp-server"
            assert msgspec.structs.replace(answer.properties, user=(), expiry_s=None) == Properties(
                content_type="application/json", text=True
            )

    asyncio.run(scenario())
