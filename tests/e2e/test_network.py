"""The real daemon on a real mosquitto: called over MQTT, watched by people, killed and cut off."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.main import main
from edged.data import folder
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp.topics import Topics as McpTopics
from edged.links.mqtt.people.vitals import Topics
from edged.links.mqtt.values import Publication
from tests.rig import daemon
from tests.rig.board import Board
from tests.rig.broker import Broker, OpenBroker, free_port, running
from tests.rig.daemon import Daemon
from tests.rig.mqtt import Ear, Line, online
from tests.rig.mqtt_caller import CBOR, JSON, calling
from tests.rig.powercut.recording import Fault, Recording
from tests.rig.shipped import ShippedBroker
from tests.rig.talk import Talk, request
from tests.rig.wire import Proxy

ID = "dev-42"
TOPICS, MCP = Topics(ID), McpTopics(ID, "edged/vision")
DISCOVERY = f"homeassistant/device/{ID}/config"
FACE = (folder("models") / "demo" / "astronaut.jpg").read_bytes()
SETTINGS = """
[mqtt]
brokers = ["{url}"]
id = "dev-42"
retry_max_s = 1.0
"""
TLS = """
[mqtt]
brokers = ["{0.brokers[0]}"]
id = "dev-42"
ca = "{0.ca}"
cert = "{0.cert}"
key = "{0.key}"
[access]
principals = {{ "mqtt:agent-7" = "act" }}
"""
ON_A_BOARD = """
[power]
root = "{root}"
sample_interval_s = 0.05
calm_interval_s = 0.05
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedBroker]:
    """The broker that the page for MQTT clients sets up, with certificates."""
    broker = ShippedBroker(tmp_path_factory.mktemp("shipped"))
    with running(broker):
        yield broker


@pytest.fixture(scope="module")
def device(
    shipped: ShippedBroker, tmp_path_factory: pytest.TempPathFactory, models: Path
) -> Iterator[Daemon]:
    """A device with a model on that broker."""
    with daemon.running(tmp_path_factory.mktemp("device"), TLS.format(shipped.device(ID))) as found:
        found.install(models / "face")
        yield found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OpenBroker]:
    made = OpenBroker(tmp_path / "broker")
    with running(made):
        yield made


def settings(broker: OpenBroker) -> str:
    return SETTINGS.format(url=broker.url)


def on(ear: Ear, topic: str) -> list[Publication]:
    return [publication for publication in ear.heard if publication.topic == topic]


def newest(ear: Ear, topic: str) -> Any:
    """The document that was said last; None where nothing was."""
    said = on(ear, topic)
    return json.loads(said[-1].payload) if said and said[-1].payload else None


def begun(ear: Ear) -> set[str]:
    """The problems that were told of."""
    alerts = [json.loads(publication.payload) for publication in on(ear, TOPICS.alert)]
    return {alert["code"] for alert in alerts if alert["event"] == "begin"}


async def told(line: Line, topic: str, holds: Callable[[Any], bool]) -> Any:
    """The newest document on a topic, once it holds."""
    await line.ear.until(lambda ear: holds(newest(ear, topic)))
    return newest(line.ear, topic)


async def state(line: Line, state: str, ended: str | None = None) -> dict[str, Any]:
    def holds(status: Any) -> bool:
        return bool(status) and (status["state"], status["ended"]) == (state, ended)

    found: dict[str, Any] = await told(line, TOPICS.status, holds)
    return found


@contextlib.asynccontextmanager
async def watching(broker: OpenBroker) -> AsyncIterator[Line]:
    """Somebody who sees everything, and stays through the broker's absence."""
    config = MqttConfig(brokers=(broker.url,), retry_max_s=1.0)
    async with online(config, "edged/v1/#", MCP.presence, DISCOVERY, name="people") as line:
        yield line


async def network(device: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """`edged://network`, once it holds, as a subscriber learns it."""
    return await asyncio.to_thread(_network, device, holds)


def _network(device: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    with Talk(device.socket) as talk:
        wanted = {"notifications": {"resourceSubscriptions": ["edged://network"]}}
        talk.send(request("subscriptions/listen", wanted, "listen"))
        while True:
            talk.send(request("resources/read", {"uri": "edged://network"}, "read"))
            held: dict[str, Any] = json.loads(talk.until("read")[-1]["result"]["contents"][0]["text"])
            if holds(held):
                return held
            while talk.take()["method"] != "notifications/resources/updated":
                pass


@pytest.mark.parametrize("content_type", [JSON, CBOR])
@pytest.mark.parametrize("era", ["sessions", "stateless"])
def test_a_face_is_found_over_mqtt(
    shipped: ShippedBroker, device: Daemon, era: str, content_type: str
) -> None:
    async def scenario() -> None:
        async with calling(shipped.client("agent-7"), "agent-7", ID) as caller:
            assert (await caller.found())["params"]["server_name"] == "edged/vision"
            if era == "sessions":
                await caller.shake_hands()
            data = FACE if content_type == CBOR else base64.b64encode(FACE).decode()
            found = await caller.call("infer_face", content_type, image={"data": data})
            assert found["objects"][0]["label"] == "face"

    asyncio.run(scenario())


def test_the_device_says_where_it_is_connected(shipped: ShippedBroker, device: Daemon) -> None:
    held = asyncio.run(
        network(device, lambda held: not held["troubles"] and held["mcp"]["access"] == "guarded")
    )
    url = shipped.device(ID).brokers[0]
    assert (held["state"], held["brokers"]) == (f"connected to {url}", [url])
    assert (held["mcp"]["identity"], held["spool"]["disk"]) == ("serving", "ok")
    assert device.call("device_status")["network"] == held["state"]
    assert "libssl" in Path(f"/proc/{device.process.pid}/maps").read_text()


def test_home_assistant_lists_the_model_that_was_installed(shipped: ShippedBroker, device: Daemon) -> None:
    async def scenario() -> None:
        async with online(
            shipped.client("homeassistant"), DISCOVERY, TOPICS.now, name="homeassistant"
        ) as line:
            announced = await told(
                line, DISCOVERY, lambda held: held and "model_face_rate" in held["components"]
            )
            assert announced["availability"][0]["topic"] == TOPICS.status
            assert (await told(line, TOPICS.now, bool))["active"].startswith("face ")

    asyncio.run(scenario())


def test_a_device_outlives_its_broker_and_what_began_meanwhile_arrives(
    tmp_path: Path, broker: OpenBroker
) -> None:
    board = Board(tmp_path / "board", "raspberry-pi-4")

    async def scenario(device: Daemon, line: Proxy) -> None:
        async with watching(broker) as people:
            await state(people, "online")
            line.target = free_port()  # people are back on the broker before the device is
            broker.kill()
            held = await network(device, lambda held: held["state"].startswith("not connected: "))
            assert held["troubles"][0] == held["state"]
            board.heat(82)
            await network(device, lambda held: held["spool"]["records"].get("alert", {}).get("count", 0) > 0)
            people.ear.heard.clear()
            broker.start()
            await people.ear.connections(2)
            assert not people.ear.heard
            line.target = broker.port
            await people.ear.until(lambda ear: "heat.critical" in begun(ear))
            status = await state(people, "online")
            assert "heat.critical" in {problem["code"] for problem in status["problems"]}
            await told(people, DISCOVERY, bool)
            async with calling(MqttConfig(brokers=(broker.url,)), "agent-7", ID) as caller:
                await caller.found()
                assert (await caller.call("device_status"))["limits"]["band"] == "critical"

    with Proxy(broker.port) as line:
        governed = SETTINGS.format(url=line.url) + ON_A_BOARD.format(root=board.root)
        with daemon.running(tmp_path / "home", governed) as device:
            asyncio.run(scenario(device, line))


def test_a_device_that_is_killed_is_seen_to_be_lost_and_is_back_after_its_start(
    tmp_path: Path, broker: OpenBroker
) -> None:
    async def scenario(device: Daemon) -> None:
        async with watching(broker) as people:
            before = await state(people, "online")
            await told(people, MCP.presence, bool)
            device.kill()
            assert (await state(people, "offline", "lost"))["start_id"] == before["start_id"]
            await people.ear.until(lambda ear: on(ear, MCP.presence)[-1].payload == b"")
            await asyncio.to_thread(device.start)
            assert (await state(people, "online"))["start_id"] != before["start_id"]
            await told(people, MCP.presence, bool)

    with daemon.running(tmp_path / "home", settings(broker)) as device:
        asyncio.run(scenario(device))


def test_a_device_that_is_stopped_says_goodbye(tmp_path: Path, broker: OpenBroker) -> None:
    async def scenario(device: Daemon) -> None:
        async with watching(broker) as people:
            await state(people, "online")
            await told(people, MCP.presence, bool)
            assert await asyncio.to_thread(device.stop) == 0
            await state(people, "offline", "stopped")
            await people.ear.until(lambda ear: on(ear, MCP.presence)[-1].payload == b"")
            assert not [each for each in on(people.ear, TOPICS.status) if b'"lost"' in each.payload]

    with daemon.running(tmp_path / "home", settings(broker)) as device:
        asyncio.run(scenario(device))


@pytest.mark.parametrize(
    ("how", "why"), [("not a file", "it cannot be opened"), ("a full disk", "the disk is full")]
)
def test_a_device_that_cannot_store_what_it_tells_serves_and_says_so(
    tmp_path: Path, broker: OpenBroker, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    state_path = tmp_path / "home" / "state"
    state_path.mkdir(parents=True)

    async def scenario(device: Daemon) -> None:
        held = await network(
            device, lambda held: held["spool"]["disk"] != "ok" and held["mcp"]["identity"] == "serving"
        )
        assert why in held["spool"]["disk"]
        assert f"what is to be told is not stored: {held['spool']['disk']}" in held["troubles"]
        async with watching(broker) as people:
            status = await told(people, TOPICS.status, lambda held: held and held["problems"])
            assert [problem["code"] for problem in status["problems"]] == ["spool.disk"]
            async with calling(MqttConfig(brokers=(broker.url,)), "agent-7", ID) as caller:
                assert (await caller.call("echo", text="still here")) == {"text": "still here"}

    with Recording(state_path) as disk:
        if how == "not a file":
            (state_path / "spool.db").mkdir()
        else:
            for name, value in disk.environment([Fault("ENOSPC", "write", 1, -1)]).items():
                monkeypatch.setenv(name, value)
        with daemon.running(tmp_path / "home", settings(broker)) as device:
            monkeypatch.undo()
            asyncio.run(scenario(device))


def test_a_damaged_outbox_is_begun_anew_and_people_are_told(tmp_path: Path, broker: OpenBroker) -> None:
    (tmp_path / "home" / "state").mkdir(parents=True)
    (tmp_path / "home" / "state" / "spool.db").write_bytes(b"SD cards forget" * 1000)

    async def scenario() -> None:
        async with watching(broker) as people:
            with daemon.running(tmp_path / "home", settings(broker)):
                alert = await told(people, TOPICS.alert, bool)
                assert (alert["code"], alert["event"]) == ("spool.damaged", "once")
                assert alert["kept_as"] == "spool.db.damaged"

    asyncio.run(scenario())


def test_a_device_with_keys_seals_what_it_stores_and_says_its_password_from_a_sealed_file(
    tmp_path: Path,
) -> None:
    home, board = tmp_path / "home", Board(tmp_path / "board", "raspberry-pi-4")
    plain = tmp_path / "password"
    plain.write_text("correct horse\n")
    add = ["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), ID, "correct horse"]
    subprocess.run(add, check=True, capture_output=True)
    rules = f"listener {{port}} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path}/passwords\n"
    broker = Broker(tmp_path / "broker", rules, free_port())
    sealed = home / "state" / "secrets" / "broker.secrets.sealed"
    given = SETTINGS.format(url=f"mqtt://127.0.0.1:{broker.port}")
    given += f'username = "{ID}"\npassword_file = "{sealed}"\n[keys]\ntpm = "off"\n'
    given += ON_A_BOARD.format(root=board.root)
    daemon.write_config(home, given)
    for command in (["init"], ["seal", str(plain), "broker"]):
        assert main(["keys", *command, "--config", str(home / "edged.toml")]) == 0

    async def scenario(device: Daemon) -> None:
        board.heat(82)
        held = await network(
            device, lambda held: held["spool"]["records"].get("alert", {}).get("count", 0) > 0
        )
        assert (held["spool"]["sealed"], held["spool"]["keys"]) == (True, "ok")
        files = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
        assert b"correct horse" not in files
        stored = b"".join(path.read_bytes() for path in (home / "state").glob("spool.db*"))
        assert b"up/alert" in stored
        assert b"heat.critical" not in stored
        with running(broker):
            await network(device, lambda held: held["spool"]["records"].get("alert", {}).get("count", 0) == 0)

    with daemon.running(home, given) as device:
        asyncio.run(scenario(device))
        assert "lies open" not in device.log


def test_without_brokers_nothing_of_the_network_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # every import is a line of the log
    with daemon.running(tmp_path) as device:
        assert device.call("device_status")["network"] == "no brokers configured"
        assert "libssl" not in Path(f"/proc/{device.process.pid}/maps").read_text()
        assert "edged.daemon.daemon" in device.log
        for module in (
            "paho",
            "edged.links.mqtt.connection",
            "edged.links.spool.service",
            "edged.daemon.network",
        ):
            assert f" {module}" not in device.log, module
