"""What a device offers beside tools, over a real library and the real dispatcher, without a socket or a loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edged.inference import stats
from edged.inference.models.library import Library
from edged.limits import UNCONSTRAINED, Limits
from edged.masking import SECRET
from edged.mcp.catalog import Catalog, Tier
from edged.mcp.results import Info
from edged.mcp.server import Server
from edged.power.readings import Readings
from edged.tasks import OneThread
from edged.tools.device import Engine
from edged.tools.documents import NetworkDocument, config_document
from edged.tools.network import NO_BROKERS
from edged.tools.readings import Gauge
from edged.tools.showing import Showing
from edged.tools.view import Rooms
from tests.rig import room
from tests.rig.desk import Desk

COOL = Readings(
    temperature_c=41.5,
    battery_pct=None,
    mains=None,
    memory_available_bytes=1 << 40,
    rss_bytes=50 << 20,
    load_1min=0.25,
)


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "localhost"
    password: Annotated[str, SECRET] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A config with a secret in it."""

    broker: Broker = Broker(password="hush")  # noqa: S106 - what must not be shown


@dataclass
class Shown:
    """One device; a test changes what its rooms say."""

    library: Library
    disk: OneThread
    now_s: float = 1000.0
    limits: Limits = UNCONSTRAINED
    engine: Engine | None = None
    inference: stats.Status | None = None
    readings: Readings = COOL
    settings: Settings = field(default_factory=Settings)
    network: NetworkDocument = NO_BROKERS
    looks: int = 0
    catalog: Catalog = field(default_factory=Catalog)

    def __post_init__(self) -> None:
        clock = lambda: self.now_s  # noqa: E731 - it reads best here
        rooms = Rooms(
            limits=lambda: self.limits,
            engine=lambda: self.engine,
            inference=lambda: self.inference,
            clock=clock,
            sample=Gauge(clock, self._look).sample,
            network=lambda: self.network,
        )
        running = lambda: config_document(self.settings, {"log"}, {"broker"})  # noqa: E731 - likewise
        self.showing = Showing(self.catalog, rooms, lambda: self.library, self.disk, running)
        self.server = Server(self.catalog, Info(name="edged", version="0"))
        self.refresh()

    def desk(self, tier: Tier = Tier.OPERATOR) -> Desk:
        """A peer's connection."""
        return Desk(self.server, tier)

    def refresh(self) -> None:
        """Have the device take over what the library holds."""
        asyncio.run(self.showing.refresh())

    def install(self, name: str, version: str = "1", **options: Any) -> None:
        """Install and serve a model of two numbers with the labels left and right."""
        room.install_linear(self.library, name, version, **options)
        self.refresh()

    def worked(self, model: str, errors: dict[str, int] | None = None, **stages_ms: float) -> None:
        """Let the inference room have counted a hundred answers of these stages."""
        counted = stats.ModelStats()
        counted.outcomes.add("answered", 100)
        for error, count in (errors or {}).items():
            counted.outcomes.add(error, count)
        for name in counted.STAGES:
            for _ in range(100):
                counted.stages[name].record(stages_ms.get(name, 1.0))
                counted.stages["total"].record(sum(stages_ms.get(stage, 1.0) for stage in counted.STAGES))
        self.inference = stats.Status(
            models=[],
            memory_bytes=1 << 20,
            memory_budget_bytes=256 << 20,
            loading_s=0.0,
            in_hand=0,
            outcomes={model: counted.outcomes.by_name()},
            stages={model: {name: times.summary() for name, times in counted.stages.items() if times.count}},
        )

    def _look(self) -> Readings:
        self.looks += 1
        return self.readings


@contextmanager
def shown(root: Path) -> Iterator[Shown]:
    """A device without models."""
    disk = OneThread("disk")
    try:
        yield Shown(room.library(root), disk)
    finally:
        disk.close()


def document(desk: Desk, uri: str) -> Any:
    """What a JSON resource holds, as the peer reads it."""
    (part,) = desk.ask_modern("resources/read", {"uri": uri})["result"]["contents"]
    assert (part["uri"], part["mimeType"]) == (uri, "application/json")
    return json.loads(part["text"])
