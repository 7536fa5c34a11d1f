"""When people are told what: a clock that jumps, a broker that keeps a list, a disk in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from edged.errors import Overloaded, Unreachable
from edged.limits import Limits
from edged.links.mqtt.people.config import HomeAssistantConfig, StateConfig
from edged.links.mqtt.people.state import ALERTS_WAITING_MAX, State
from edged.links.mqtt.people.vitals import Look, Status, Topics, encode
from edged.links.mqtt.values import Publication, Terms
from edged.tools.telemetry import Keys
from tests.rig.fastloop import FastLoop
from tests.rig.telling import ME, Device, Disk, House

TOPICS = Topics(ME.device)
DISCOVERY = "homeassistant/device/lab-7/config"
BIRTH = "homeassistant/status"
TERMS = Terms(broker="mqtt://localhost", client_id="lab-7.m-1")
QUARTER_S = 21_600


@dataclass
class World:
    loop: FastLoop
    config: StateConfig
    device: Device = field(default_factory=Device)
    disk: Disk = field(default_factory=Disk)
    house: House = field(default_factory=House)
    looks: list[tuple[float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State(
            self.config, ME, self, self.device.limits, self.house.publish, self.disk, jitter_s=lambda: 3.0
        )

    def look(self, *, sampled: bool) -> Look:
        """The device's own, on the loop's clock."""
        self.looks.append((self.loop.time(), sampled))
        self.device.now_s = self.loop.time()
        return self.device.telemetry.look(sampled=sampled)

    def connect(self, packet_max_bytes: int | None = None) -> None:
        self.state.connected(msgspec.structs.replace(TERMS, packet_max_bytes=packet_max_bytes))

    def hear(self, payload: bytes, *, retain: bool = False) -> None:
        self.state.received(Publication(topic=BIRTH, payload=payload, retain=retain))

    def heat(self, celsius: float) -> None:
        self.device.now_s = self.loop.time()
        self.device.sense(heat_cpu_thermal=celsius)


def run(test: Callable[[World], Awaitable[None]], config: StateConfig | None = None) -> None:
    loop = FastLoop(100.25)

    async def main() -> None:
        world = World(loop, config or StateConfig())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(world.state.run())
            await asyncio.sleep(0)
            await test(world)
            running.cancel()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


# time


def test_it_samples_on_the_interval_of_the_limits_and_wakes_for_nothing_else() -> None:
    async def scenario(world: World) -> None:
        before = world.loop.wakeups
        await asyncio.sleep(600)
        assert 58 <= len(world.looks) <= 62
        assert world.loop.wakeups - before <= 62
        assert {at % 1 for at, _ in world.looks[1:]} == {0.0}
        world.device.limits.set(Limits(telemetry_interval_s=60.0))
        await asyncio.sleep(1)
        world.looks.clear()
        await asyncio.sleep(600)
        assert len(world.looks) == 10

    run(scenario)


def test_it_never_samples_more_often_than_the_config_allows() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(600)
        assert len(world.looks) <= 21

    run(scenario, StateConfig(interval_s=30.0))


def test_a_change_of_the_limits_is_told_within_a_second_and_many_are_told_together() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(2.5)
        world.house.said.clear()
        world.heat(75.0)
        await asyncio.sleep(1)
        assert world.house.newest(TOPICS.status)["band"] == "hot"
        assert [alert["code"] for alert in world.disk.documents("/up/alert")] == ["heat.hot"]
        looks = len(world.looks)
        for n in range(100):
            world.device.limits.set(Limits(reason=str(n)))
            await asyncio.sleep(0.1)
        assert len(world.looks) - looks <= 12

    run(scenario)


def test_limits_that_relax_bring_the_next_sample_forward() -> None:
    async def scenario(world: World) -> None:
        world.device.limits.set(Limits(telemetry_interval_s=900.0))
        await asyncio.sleep(20)
        world.looks.clear()
        world.device.limits.set(Limits())
        await asyncio.sleep(30)
        assert sum(sampled for _, sampled in world.looks) >= 2

    run(scenario)


# what is retained


def test_status_sample_and_announcement_go_out_at_the_connect_and_after_every_other() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(25)
        assert world.house.said == []
        for _ in range(2):
            world.connect()
            assert world.house.topics() == [TOPICS.status, TOPICS.now, DISCOVERY]
            assert all(publication.retain for publication in world.house.said)
            world.state.disconnected("test")
            world.house.said.clear()
        await asyncio.sleep(60)
        assert world.house.said == []

    run(scenario)


def test_only_the_sample_is_repeated_while_nothing_changes() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(600)
        topics = world.house.topics()
        assert topics.count(TOPICS.status) == topics.count(DISCOVERY) == 1
        assert topics.count(TOPICS.now) >= 59

    run(scenario)


def test_the_will_says_offline_on_the_topic_of_the_status() -> None:
    async def scenario(world: World) -> None:
        will = world.state.will
        assert (will.topic, will.retain, will.qos) == (TOPICS.status, True, 1)
        said = msgspec.json.decode(will.payload)
        assert (said["state"], said["ended"], said["start_id"]) == ("offline", "lost", ME.start_id)

    run(scenario)


def test_a_stop_says_offline_and_stores_the_samples_there_are() -> None:
    async def main(loop: FastLoop) -> None:
        world = World(loop, StateConfig())
        running = loop.create_task(world.state.run())
        await asyncio.sleep(35)
        world.connect()
        running.cancel()
        await asyncio.wait([running])
        await world.state.close()
        assert world.house.newest(TOPICS.status)["ended"] == "stopped"
        assert len(world.disk.documents("/up/telemetry")) == 4
        world.house.said.clear()
        world.connect()
        assert world.house.said == []  # what has said goodbye is not back

    loop = FastLoop(100.25)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


@pytest.mark.parametrize("fault", [Overloaded("full", 1.0), Unreachable("gone")])
def test_what_could_not_be_sent_is_sent_with_the_next_sample(fault: Exception) -> None:
    async def scenario(world: World) -> None:
        world.house.fault = fault
        world.connect()
        await asyncio.sleep(15)
        world.house.fault = None
        assert world.house.said == []
        await asyncio.sleep(10)
        assert set(world.house.topics()) == {TOPICS.status, TOPICS.now, DISCOVERY}

    run(scenario)


def test_a_broker_that_forbids_a_topic_is_complained_about_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        world.house.code = 0x87
        world.connect()
        await asyncio.sleep(600)

    run(scenario)
    told = [record.getMessage() for record in caplog.records if "cannot publish" in record.getMessage()]
    assert sorted(told) == sorted(set(told))
    assert f"cannot publish topic={DISCOVERY}: the broker answers 0x87" in told


# Home Assistant


def test_home_assistants_return_has_everything_said_again_after_the_jitter() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.house.said.clear()
        world.hear(b"online")
        await asyncio.sleep(2)
        assert world.house.said == []
        await asyncio.sleep(3)
        assert world.house.topics() == [TOPICS.status, TOPICS.now, DISCOVERY]
        await asyncio.sleep(3)
        assert DISCOVERY not in world.house.topics()[3:]

    run(scenario)


@pytest.mark.parametrize(("payload", "retain"), [(b"offline", False), (b"online", True), (b"", False)])
def test_nothing_else_has(payload: bytes, retain: bool) -> None:  # noqa: FBT001 - a column of the table
    async def scenario(world: World) -> None:
        world.connect()
        world.hear(payload, retain=retain)
        await asyncio.sleep(60)
        assert world.house.topics().count(DISCOVERY) == 1

    run(scenario)


def test_a_new_model_is_in_the_sample_before_it_is_announced() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.house.said.clear()
        world.device.install("face")
        world.state.nudge()
        await asyncio.sleep(1)
        assert world.house.topics() == [TOPICS.status, TOPICS.now, DISCOVERY]
        assert "face" in world.house.newest(TOPICS.now)["models"]  # type: ignore[operator] # a table
        assert "model_face_rate" in entities(world.house.said[-1])

    run(scenario)


def test_a_model_that_is_gone_is_told_to_go_before_the_sample_lacks_it_and_then_left_out() -> None:
    async def scenario(world: World) -> None:
        world.device.install("face")
        world.connect()
        await asyncio.sleep(12)
        world.house.said.clear()
        del world.device.models["face"]
        world.device.install("digits")
        world.state.nudge()
        await asyncio.sleep(1)
        assert world.house.topics() == [DISCOVERY, TOPICS.status, TOPICS.now, DISCOVERY]
        going, _, _, left = world.house.said
        assert entities(going)["model_face_rate"] == {"platform": "sensor"}
        assert "model_digits_rate" not in entities(going)
        assert {"model_face_rate", "model_digits_rate"} & entities(left).keys() == {"model_digits_rate"}

    run(scenario)


def test_what_went_while_there_was_no_broker_is_told_to_go_at_the_connect() -> None:
    async def scenario(world: World) -> None:
        world.device.install("face")
        world.connect()
        await asyncio.sleep(12)
        world.state.disconnected("test")
        del world.device.models["face"]
        await asyncio.sleep(30)
        world.house.said.clear()
        world.connect()
        said = [publication for publication in world.house.said if publication.topic == DISCOVERY]
        assert entities(said[0])["model_face_rate"] == {"platform": "sensor"}
        assert "model_face_rate" not in entities(said[-1])

    run(scenario)


def test_what_went_before_the_start_is_told_to_go_as_soon_as_the_broker_says_what_it_has() -> None:
    async def scenario(world: World) -> None:
        world.device.install("face")
        world.connect()
        await asyncio.sleep(12)
        kept = world.house.said[-1]
        del world.device.models["face"]
        anew = World(world.loop, StateConfig(), device=world.device)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(anew.state.run())
            await asyncio.sleep(1)
            anew.connect()
            anew.state.received(msgspec.structs.replace(kept, retain=True))
            running.cancel()
        first, going, left = (said for said in anew.house.said if said.topic == DISCOVERY)
        assert entities(going)["model_face_rate"] == {"platform": "sensor"}
        assert "model_face_rate" not in entities(first) | entities(left)

    run(scenario)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"[]", b"{}", b'{"components": {"a": {"platform": "; drop"}}}']
)
def test_what_is_no_announcement_of_ours_changes_nothing(payload: bytes) -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(12)
        said = len(world.house.said)
        world.state.received(Publication(topic=DISCOVERY, payload=payload, retain=True))
        assert len(world.house.said) == said

    run(scenario)


def test_more_models_than_the_broker_takes_in_a_message_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(world: World) -> None:
        for n in range(64):
            world.device.install(f"model_{n}")
        world.connect(packet_max_bytes=16_384)
        await asyncio.sleep(60)
        (said,) = (publication for publication in world.house.said if publication.topic == DISCOVERY)
        assert "band" in entities(said)
        assert not any(key.startswith("model_") for key in entities(said))

    run(scenario)
    assert sum("left out for Home Assistant" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "config", [StateConfig(home_assistant=HomeAssistantConfig(enabled=False)), StateConfig(now=False)]
)
def test_without_home_assistant_nothing_is_announced_or_heard(config: StateConfig) -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(60)
        assert [each.filter for each in world.state.subscriptions] == [TOPICS.status]
        assert DISCOVERY not in world.house.topics()
        assert (TOPICS.now in world.house.topics()) is config.now

    run(scenario, config)


def test_the_same_word_on_another_topic_means_nothing() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.state.received(Publication(topic="edged/v1/lab-7/dn/ack", payload=b"online"))
        await asyncio.sleep(8)
        assert world.house.topics().count(DISCOVERY) == 1

    run(scenario)


# what others say

LOST = Status(
    state="offline", ended="lost", device="lab-7", version="0.4.0", board="", boot_id="b0071d", start_id="0"
)
TWIN = msgspec.structs.replace(LOST, state="online", ended=None, board="Raspberry Pi 5", boot_id="7w1n")


@pytest.mark.parametrize("said", [encode(LOST), b"", b"{", b"[]"])
def test_a_late_will_of_an_earlier_connection_does_not_last(said: bytes) -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.house.said.clear()
        world.state.received(Publication(topic=TOPICS.status, payload=said))
        await asyncio.sleep(1)
        assert world.house.newest(TOPICS.status)["state"] == "online"

    run(scenario)


def test_a_twin_is_reported_and_not_fought() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.house.said.clear()
        world.state.received(Publication(topic=TOPICS.status, payload=encode(TWIN)))
        await asyncio.sleep(1)
        assert world.state.twin() == "another device says that it is lab-7: Raspberry Pi 5, boot 7w1n"
        assert TOPICS.status not in world.house.topics()
        await asyncio.sleep(700)
        assert world.state.twin() is None

    run(scenario)


def test_the_status_that_was_there_before_is_neither() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        world.house.said.clear()
        for said in (TWIN, LOST):
            world.state.received(Publication(topic=TOPICS.status, payload=encode(said), retain=True))
        await asyncio.sleep(3)
        assert (world.state.twin(), world.house.said) == (None, [])

    run(scenario)


def test_a_flood_of_words_on_our_status_costs_a_look_a_second() -> None:
    async def scenario(world: World) -> None:
        world.connect()
        await asyncio.sleep(1.5)
        looks = len(world.looks)
        for _ in range(1000):
            world.state.received(Publication(topic=TOPICS.status, payload=encode(LOST)))
            await asyncio.sleep(0.01)
        assert len(world.looks) - looks <= 13

    run(scenario)


# the spool


def test_samples_are_stored_together_and_each_once() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(QUARTER_S)
        samples = world.disk.documents("/up/telemetry")
        assert world.disk.puts <= QUARTER_S / 300 + 1
        assert len(world.looks) - 31 <= len(samples) <= len(world.looks)
        assert len({sample["at"] for sample in samples}) == len(samples)

    run(scenario)


def test_the_disk_is_asked_again_and_nothing_is_lost_or_double() -> None:
    async def scenario(world: World) -> None:
        world.device.keys = Keys("hostfile")
        world.disk.broken = True
        await asyncio.sleep(1200)
        assert world.disk.records == {}
        world.disk.broken = False
        await asyncio.sleep(301)
        assert [alert["code"] for alert in world.disk.documents("/up/alert")] == ["keys.weak"]
        assert len(world.disk.documents("/up/telemetry")) >= 120

    run(scenario)


def test_a_record_that_the_spool_rejects_is_lost_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        world.disk.rejects = "57a27-t3"
        await asyncio.sleep(320)
        told = {record.id for record in world.disk.records.values()}
        assert {"57a27-t2", "57a27-t4"} < told
        assert "57a27-t3" not in told

    run(scenario)
    assert [r.getMessage() for r in caplog.records if "lost" in r.getMessage()] == [
        "record lost id=57a27-t3: too large"
    ]


def test_a_disk_that_stays_full_does_not_fill_the_memory() -> None:
    async def scenario(world: World) -> None:
        world.disk.broken = True
        for n in range(2 * ALERTS_WAITING_MAX):
            world.device.keys = Keys("tpm", "hangs" if n % 2 else None)
            world.device.forward(4000.0)
            await asyncio.sleep(4000)
        world.disk.broken = False
        await asyncio.sleep(1000)
        assert len(world.disk.documents("/up/alert")) <= ALERTS_WAITING_MAX
        assert len(world.disk.documents("/up/telemetry")) <= 512

    run(scenario, StateConfig(interval_s=1000.0))


def test_alerts_do_not_wait_for_the_batch() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(5)
        world.heat(82.0)
        await asyncio.sleep(1)
        assert {alert["code"] for alert in world.disk.documents("/up/alert")} == {"heat.hot", "heat.critical"}
        assert world.disk.documents("/up/telemetry") == []

    run(scenario)


def test_without_telemetry_alerts_are_stored_all_the_same() -> None:
    async def scenario(world: World) -> None:
        world.heat(82.0)
        await asyncio.sleep(600)
        assert len(world.disk.documents("/up/alert")) == 2
        assert world.disk.documents("/up/telemetry") == []

    run(scenario, StateConfig(telemetry=False))


def entities(publication: Publication) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = msgspec.json.decode(publication.payload)["components"]
    return found
