"""What somebody on the broker sees of a device: a real mosquitto, a plain subscriber, a device that may be killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.people.vitals import Now, Status, Topics
from edged.links.mqtt.values import Publication
from tests.rig.broker import OpenBroker, running
from tests.rig.jinja import render
from tests.rig.mqtt import Ear, Line, online
from tests.rig.teller import telling, told
from tests.rig.telling import ME, Device

TOPICS = Topics(ME.device)
DISCOVERY = "homeassistant/device/lab-7/config"
BIRTH = "homeassistant/status"
ANEW = msgspec.structs.replace(ME, start_id="a2e3")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OpenBroker]:
    made = OpenBroker(tmp_path / "broker")
    with running(made):
        yield made


def config(broker: OpenBroker) -> MqttConfig:
    return MqttConfig(brokers=(broker.url,))


async def heard(line: Line, topic: str, count: int = 1) -> Publication:
    """The newest message on a topic, once there are so many."""
    await line.ear.until(lambda ear: len(on(ear, topic)) >= count)
    return on(line.ear, topic)[-1]


def on(ear: Ear, topic: str) -> list[Publication]:
    return [publication for publication in ear.heard if publication.topic == topic]


def document(publication: Publication) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(publication.payload)
    return found


def entities(discovery: Publication) -> dict[str, Any]:
    found: dict[str, Any] = document(discovery)["components"]
    return found


def starts(ear: Ear) -> list[tuple[str, str]]:
    """Who said what of the device's status."""
    return [(said["state"], said["start_id"]) for said in map(document, on(ear, TOPICS.status))]


def twins(ear: Ear) -> set[str]:
    """The starts that say that there is another."""
    said = map(document, on(ear, TOPICS.status))
    return {each["start_id"] for each in said if "identity.twin" in {p["code"] for p in each["problems"]}}


def subscribe(broker: OpenBroker, count: int) -> dict[str, tuple[bool, dict[str, Any]]]:
    """What mosquitto_sub gets that comes afterwards: by topic, whether it is retained, and the document."""
    said = subprocess.run(
        [
            *("mosquitto_sub", "-V", "mqttv5", "-p", str(broker.port), "-C", str(count), "-W", "30"),
            *("-t", "edged/v1/+/up/#", "-t", "homeassistant/device/#", "-F", "%t %r %p"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split(" ", 2) for line in said.stdout.splitlines()]
    return {topic: (retained == "1", json.loads(payload)) for topic, retained, payload in lines}


def test_who_subscribes_later_sees_status_sample_and_announcement(broker: OpenBroker) -> None:
    with told(broker.url, "lab-7"):
        seen = subscribe(broker, 3)
    assert set(seen) == {TOPICS.status, TOPICS.now, DISCOVERY}
    assert all(retained for retained, _ in seen.values())
    assert msgspec.convert(seen[TOPICS.status][1], Status).models == {"face": "1.0"}
    assert msgspec.convert(seen[TOPICS.now][1], Now).temperature_c == 48.5


def test_every_entity_shows_something_as_home_assistant_reads_it(broker: OpenBroker) -> None:
    with told(broker.url, "lab-7"):
        seen = subscribe(broker, 3)
    announced = seen[DISCOVERY][1]
    shown = {
        key: render(entity["value_template"], seen[announced["state_topic"]][1])
        for key, entity in announced["components"].items()
    }
    assert (shown["temperature"], shown["band"], shown["models"]) == ("48.5", "nominal", "face 1.0")
    assert {shown[key] for key in shown if key.startswith("problem_")} == {"False"}
    (availability,) = announced["availability"]
    assert render(availability["value_template"], seen[availability["topic"]][1]) == "online"


def test_a_device_that_is_killed_is_said_to_be_lost(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker), TOPICS.status) as line:
            with told(broker.url, "lab-7") as process:
                assert document(await heard(line, TOPICS.status))["state"] == "online"
                process.kill()
                last = document(await heard(line, TOPICS.status, 2))
        assert (last["state"], last["ended"], last["start_id"]) == ("offline", "lost", ME.start_id)

    asyncio.run(scenario())
    assert subscribe(broker, 3)[TOPICS.status][1]["ended"] == "lost"  # and stays said


def test_a_device_that_is_stopped_says_so_itself(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker), TOPICS.status) as line:
            with told(broker.url, "lab-7") as process:
                process.terminate()
                assert process.wait(30) == 0
            assert document(await heard(line, TOPICS.status, 2))["ended"] == "stopped"

    asyncio.run(scenario())


def test_home_assistants_return_has_the_device_announced_again(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with telling(config(broker), Device()), online(config(broker), DISCOVERY) as house:
            await heard(house, DISCOVERY)
            await house.say(BIRTH, b"online")
            again = await heard(house, DISCOVERY, 2)
            assert not again.retain  # said anew, not kept from before
            assert again.payload == on(house.ear, DISCOVERY)[0].payload

    asyncio.run(scenario())


def test_a_broker_that_forgot_everything_is_told_everything(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with telling(config(broker), Device()):
            async with online(config(broker), DISCOVERY) as house:
                await heard(house, DISCOVERY)
            broker.kill()
            broker.start()
            async with online(config(broker), "edged/v1/#", DISCOVERY) as house:
                for topic in (TOPICS.status, TOPICS.now, DISCOVERY):
                    await heard(house, topic)

    asyncio.run(scenario())


def test_a_model_that_comes_and_goes_is_announced_and_withdrawn(broker: OpenBroker) -> None:
    async def scenario() -> None:
        device = Device()
        async with telling(config(broker), device) as state, online(config(broker), DISCOVERY) as house:
            await heard(house, DISCOVERY)
            device.install("face")
            state.nudge()
            assert "model_face_rate" in document(await heard(house, DISCOVERY, 2))["components"]
            del device.models["face"]
            state.nudge()
            await heard(house, DISCOVERY, 4)
            going, left = (document(each)["components"] for each in on(house.ear, DISCOVERY)[-2:])
            assert going["model_face_rate"] == {"platform": "sensor"}
            assert "model_face_rate" not in left

    asyncio.run(scenario())


def test_a_model_that_went_while_nothing_ran_is_withdrawn_at_the_next_start(broker: OpenBroker) -> None:
    async def scenario() -> None:
        with told(broker.url, "lab-7"):  # which serves `face`, and is killed
            pass
        async with online(config(broker), DISCOVERY) as house:
            assert "model_face_rate" in entities(await heard(house, DISCOVERY))
            async with telling(config(broker), Device(identity=ANEW)):
                await house.ear.until(lambda ear: "model_face_rate" not in entities(on(ear, DISCOVERY)[-1]))
            *_, going, left = map(entities, on(house.ear, DISCOVERY))
            assert going["model_face_rate"] == {"platform": "sensor"}
            assert "temperature" in left

    asyncio.run(scenario())


def test_heat_is_on_the_broker_as_it_begins(broker: OpenBroker) -> None:
    async def scenario() -> None:
        device = Device()
        async with telling(config(broker), device), online(config(broker), TOPICS.status, TOPICS.now) as line:
            await heard(line, TOPICS.now)
            device.sense(heat_cpu_thermal=82.0)
            hot = document(await heard(line, TOPICS.now, 2))
            assert (hot["band"], hot["problem"]["heat"]) == ("critical", True)
            status = document(await heard(line, TOPICS.status, 2))
            assert [problem["code"] for problem in status["problems"]] == ["heat.critical", "heat.hot"]

    asyncio.run(scenario())


def test_an_earlier_connection_whose_will_comes_late_does_not_take_the_device_away(
    broker: OpenBroker,
) -> None:
    async def scenario() -> None:
        async with online(config(broker), TOPICS.status) as line:
            with told(broker.url, "lab-7") as before:
                async with telling(config(broker), Device(identity=ANEW)):
                    await line.ear.until(lambda ear: starts(ear)[-1:] == [("online", ANEW.start_id)])
                    before.kill()
                    await line.ear.until(lambda ear: ("offline", ME.start_id) in starts(ear))
                    await line.ear.until(lambda ear: starts(ear)[-1] == ("online", ANEW.start_id))

    asyncio.run(scenario())


def test_two_devices_of_one_identity_report_each_other_and_do_not_fight(broker: OpenBroker) -> None:
    async def scenario() -> None:
        one, other = Device(), Device(identity=ANEW)
        async with (
            online(config(broker), TOPICS.status) as line,
            telling(config(broker), one, name="a") as first,
        ):
            one.ask_twin = first.twin
            await heard(line, TOPICS.status)
            async with telling(config(broker), other, name="b") as second:
                other.ask_twin = second.twin
                await line.ear.until(lambda ear: twins(ear) == {ME.start_id, ANEW.start_id})
        assert (
            len(line.ear.heard) <= 8
        )  # each says hello, twin and goodbye; the one that stays says it is there

    asyncio.run(scenario())


FORBIDDEN = "acl_file {home}/acl\n"


def test_a_broker_that_forbids_the_announcement_still_has_the_status(tmp_path: Path) -> None:
    broker = OpenBroker(tmp_path / "broker", FORBIDDEN)
    (tmp_path / "broker/acl").write_text("topic readwrite edged/#\n")

    async def scenario() -> None:
        async with telling(config(broker), Device()), online(config(broker), "edged/v1/#") as line:
            await heard(line, TOPICS.status)
            await heard(line, TOPICS.now)

    with running(broker):
        asyncio.run(scenario())
