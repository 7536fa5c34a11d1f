"""Whatever one client does, the others are answered and nothing grows."""

from __future__ import annotations

import asyncio
import itertools
import logging
import tracemalloc

import pytest

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp.clients import OPENINGS_MAX
from edged.mcp.server import Server
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.mqtt_hostile import NAME, Hostile
from tests.rig.mqtt_hub import Hub, shipped
from tests.rig.mqtt_room import ID, TOPICS, Client, device

CONFIG = MqttConfig(repeat_max_bytes=256 * 1024, message_max_bytes=256 * 1024, sessions_max=8)
GROWTH_MAX_BYTES = 2 * 1024 * 1024
TURN = 25


async def onslaught(hub: Hub, hostile: Hostile, honest: Client, messages: int) -> None:
    """So many messages, and now and then a request of somebody else, which is answered rightly."""
    line = next(line for line in hub.lines if line.client_id == NAME)
    stream = hostile.messages()
    for turn in range(messages // TURN):
        for publication in itertools.islice(stream, TURN):
            line.publish(publication)
        said = await honest.call("echo", {"text": f"turn {turn}"})
        assert said["structuredContent"] == {"text": f"turn {turn}"}
        line.inbox.clear()
        hub.seen.clear()
        honest.line.inbox.clear()


@pytest.mark.parametrize("seed", range(4))
def test_a_hostile_client_neither_grows_us_nor_keeps_others_waiting(seed: int) -> None:
    async def scenario() -> None:
        hub = Hub(shipped(ID))
        server = Server(catalog(), INFO, None, METHODS)
        async with device(hub, server, config=CONFIG) as (link, _):
            honest = Client(hub, "agent")
            await honest.shake_hands()
            Client(hub, NAME)
            hostile = Hostile(TOPICS, seed, ("agent", "boss"))
            await onslaught(hub, hostile, honest, 1000)
            tracemalloc.start()
            try:
                await onslaught(hub, hostile, honest, 200)
                before, _ = tracemalloc.get_traced_memory()
                await onslaught(hub, hostile, honest, 1000)
                after, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert after - before < GROWTH_MAX_BYTES
            status = link.status
            assert status.clients <= 2
            assert status.openings <= OPENINGS_MAX
            assert link._office.answers.bytes <= CONFIG.repeat_max_bytes
            assert "tools" in (await honest.ask("tools/list"))["result"]  # its handshake still holds

    logging.disable(logging.ERROR)
    try:
        asyncio.run(scenario())
    finally:
        logging.disable(logging.NOTSET)
