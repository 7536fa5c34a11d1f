"""A hostile MCP client: floods, giants, tricks. `python -m bench.peers.mqtt_flood PORT SERVER SEED`."""

from __future__ import annotations

import itertools
import sys
import threading
import time

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.mqtt_client import NAME
from edged.links.mqtt.topics import Topics
from edged.links.mqtt.values import Publication
from tests.rig import mqtt_hostile
from tests.rig.mqtt_hostile import Hostile

IN_FLIGHT = 64
RATE_HZ = 1000
"""Below what makes mosquitto drop messages of everybody, for its queue to the device is one for all senders."""
BURST = 50
READY = "ready"
CYCLE = 1000
"""Messages made beforehand, so that making them takes no time from sending."""


def main() -> None:
    port, server, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    stream = Hostile(Topics(server, NAME), seed, ("victim", f"echo-{server}")).messages()
    prepared = [
        (publication, _properties(publication)) for publication, _ in zip(stream, range(CYCLE), strict=False)
    ]
    client = paho.Client(CallbackAPIVersion.VERSION2, mqtt_hostile.NAME, protocol=paho.MQTTv5)
    client.username_pw_set(mqtt_hostile.NAME)
    room = threading.Semaphore(IN_FLIGHT)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.on_publish = lambda *_: room.release()
    client.connect("127.0.0.1", port)
    client.loop_start()
    print(READY, flush=True)
    due = time.monotonic()
    for number, (publication, properties) in enumerate(itertools.cycle(prepared)):
        if number % BURST == 0:
            due = max(due + BURST / RATE_HZ, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
        room.acquire()
        client.publish(
            publication.topic, publication.payload, publication.qos, publication.retain, properties
        )


def _properties(publication: Publication) -> Properties:
    given = publication.properties
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho
    if given.user:
        properties.UserProperty = list(given.user)
    for name, value in (
        ("ContentType", given.content_type),
        ("ResponseTopic", given.response_topic),
        ("CorrelationData", given.correlation),
        ("MessageExpiryInterval", given.expiry_s),
    ):
        if value is not None:
            setattr(properties, name, value)
    return properties


if __name__ == "__main__":
    main()
