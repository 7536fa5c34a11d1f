"""Alerts and samples on a real broker, by way of a real spool: in order, packed, and none lost while nobody was there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from edged.limits import Limits
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.people.config import StateConfig
from edged.links.mqtt.people.vitals import Topics
from edged.links.mqtt.sharing import Sender
from edged.links.mqtt.values import Publication
from edged.links.spool.config import SpoolConfig
from edged.links.spool.service import Spool
from edged.links.spool.values import Kind, Record
from edged.tasks import OneThread
from tests.rig.broker import OpenBroker, running
from tests.rig.mqtt import Ear, online
from tests.rig.teller import telling
from tests.rig.telling import EPOCH_S, ME, Device

TOPICS = Topics(ME.device)
EVERY_SECOND = StateConfig(interval_s=1.0, batch_s=2.0)


class Told(Spool):
    """A spool that can be waited for."""

    def __init__(self, home: Path, device: Device, sender: Sender, disk: OneThread) -> None:
        now_s = lambda: EPOCH_S + device.now_s  # noqa: E731 - it reads best here
        super().__init__(home / "spool.db", SpoolConfig(batch_s=0.0), ME.device, sender, disk, now_s)
        self.alerted = asyncio.Event()

    async def put(self, *records: Record) -> None:
        await super().put(*records)
        if any(record.kind is Kind.ALERT for record in records):
            self.alerted.set()


@contextlib.asynccontextmanager
async def spooled(device: Device, broker: OpenBroker, home: Path) -> AsyncIterator[Told]:
    """Tell of a device through a spool that lies in `home`."""
    disk, sender = OneThread("spool"), Sender()
    spool = Told(home, device, sender, disk)
    config = MqttConfig(brokers=(broker.url,), retry_max_s=1.0)
    try:
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(spool.run())
            async with telling(config, device, spool, settings=EVERY_SECOND, beside=spool, sender=sender):
                yield spool
            draining.cancel()
        await spool.close()
    finally:
        disk.close()


def samples(ear: Ear) -> list[dict[str, Any]]:
    """What came on the topic of telemetry, as docs/telemetry.md says to read it."""
    return [row for said in ear.heard if said.topic == TOPICS.telemetry for row in json.loads(unpacked(said))]


def alerts(ear: Ear) -> list[dict[str, Any]]:
    return [json.loads(unpacked(said)) for said in ear.heard if said.topic == TOPICS.alert]


def unpacked(said: Publication) -> bytes:
    packed = ("content-encoding", "deflate") in said.properties.user
    return zlib.decompress(said.payload) if packed else said.payload


def test_samples_come_in_order_several_in_a_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        device = Device()
        device.limits.set(Limits(telemetry_interval_s=1.0))
        async with (
            online(MqttConfig(brokers=(broker.url,)), TOPICS.telemetry) as line,
            spooled(device, broker, tmp_path),
        ):
            await line.ear.until(lambda ear: len(samples(ear)) >= 4)
            told = samples(line.ear)
            assert [row["id"] for row in told] == [f"{ME.start_id}-t{n + 1}" for n in range(len(told))]
            assert told[0]["sample"]["temperature_c"] == 48.5
            assert len(line.ear.heard) < len(told)

    broker = OpenBroker(tmp_path / "broker")
    with running(broker):
        asyncio.run(scenario())


def test_what_happened_while_there_was_no_broker_comes_when_there_is_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        device = Device()
        async with spooled(device, broker, tmp_path) as spool:
            device.sense(heat_cpu_thermal=82.0)
            await spool.alerted.wait()
            broker.start()
            async with online(MqttConfig(brokers=(broker.url,)), TOPICS.alert) as line:
                await line.ear.until(lambda ear: len(alerts(ear)) >= 2)
                assert {alert["code"] for alert in alerts(line.ear)} == {"heat.hot", "heat.critical"}
                assert {alert["event"] for alert in alerts(line.ear)} == {"begin"}

    broker = OpenBroker(tmp_path / "broker")
    try:
        asyncio.run(scenario())
    finally:
        broker.stop()
