"""`python -m tests.rig.teller URL DEVICE`: a device of `tests.rig.telling` on a broker, until it is ended.

It prints a line when it has told everything once, runs one model, and says goodbye on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.people.config import StateConfig
from edged.links.mqtt.people.management import Management
from edged.links.mqtt.people.state import State
from edged.links.mqtt.sharing import Sender
from edged.links.mqtt.values import Handler, Publication
from edged.links.spool.values import Outbox
from tests.rig.telling import ME, Device, Disk


@contextlib.asynccontextmanager
async def telling(
    config: MqttConfig,
    device: Device,
    outbox: Outbox | None = None,
    *,
    settings: StateConfig | None = None,
    name: str = "lab-7.m-1",
    beside: Handler | None = None,
    sender: Sender | None = None,
    on_announced: Callable[[], None] = lambda: None,
) -> AsyncIterator[State]:
    """Have a device told on a broker, started and stopped as the daemon does; `beside` hears the same connection."""
    through = sender or Sender()

    def publish(publication: Publication) -> asyncio.Future[int]:
        sent = through.publish(publication)
        if publication.topic.startswith("homeassistant/"):  # the last of what is told at a connect
            sent.add_done_callback(lambda _: on_announced())
        return sent

    state = State(
        settings or StateConfig(),
        device.identity,
        device.telemetry,
        device.limits,
        publish,
        outbox or Disk(),
        jitter_s=lambda: 0.0,
    )
    template = msgspec.structs.replace(config, management_client_id=name)
    management = Management(template, ME.device, state, through, beside=[beside] if beside else [])
    async with asyncio.TaskGroup() as group:
        group.create_task(management.run())
        try:
            yield state
        finally:
            management.close()


@contextlib.contextmanager
def told(url: str, device: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that tells, to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rig.teller", url, device],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "told\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _main(url: str, name: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    device = Device(identity=msgspec.structs.replace(ME, device=name))
    device.install("face")
    announced = asyncio.Event()
    async with telling(MqttConfig(brokers=(url,)), device, name=f"{name}.m-0", on_announced=announced.set):
        await announced.wait()
        print("told", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
