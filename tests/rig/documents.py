"""Documents of a device in good health, for tests to make ill."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edged.inference.trial.report import TensorInfo
from edged.limits import Limits
from edged.links.mqtt.status import Health, McpStatus
from edged.links.spool.status import SpoolStatus
from edged.metrics import Summary
from edged.tools.board import Board
from edged.tools.device import Engine
from edged.tools.documents import (
    DeviceDocument,
    LoadedPart,
    ModelDocument,
    NetworkDocument,
    VariantPart,
    VersionPart,
    Work,
)
from edged.tools.network import network_document
from edged.tools.readings import Reading
from edged.tools.uris import model_uri

STAGES = ("queue", "decode", "preprocess", "invoke", "postprocess")


def reading(value: float | None) -> Reading:
    return Reading(value=value, unit="", source="test", age_s=0.1)


def device(
    *,
    limits: Limits | None = None,
    kernels: str = "native",
    runtime: str = "ai-edge-litert 2",
    **readings: Any,
) -> DeviceDocument:
    """A board of four CPUs at rest; readings as `heat_hottest=85.0`."""
    sample = {"heat.hottest": 41.0, "load.1min": 0.4, "memory.available": 2.0 * (1 << 30)}
    sample |= {name.replace("_", ".", 1): value for name, value in readings.items()}
    return DeviceDocument(
        hostname="board",
        edged="0",
        uptime_s=60.0,
        board=Board(
            model="Raspberry Pi 4",
            machine="aarch64",
            cpus=4,
            memory_bytes=4 << 30,
            kernel="6",
            os=None,
            python="3",
        ),
        engine=Engine(runtime=runtime, kernels=kernels, kernels_reason="compiled for this CPU"),
        limits=limits or Limits(),
        readings={name: reading(value) for name, value in sample.items()},
        models=[],
        installed=1,
    )


def summary(mean_ms: float, count: int = 100, p99_ms: float | None = None) -> Summary:
    p99_ms = mean_ms * 1.5 if p99_ms is None else p99_ms
    return Summary(count=count, mean_ms=mean_ms, p50_ms=mean_ms, p95_ms=mean_ms, p99_ms=p99_ms, max_ms=p99_ms)


def work(answered: int = 100, p99_ms: float | None = None, **means: float) -> Work:
    """Answers whose stages took so long on average; what is not given takes 1 ms."""
    stages = {stage: summary(means.get(stage, 1.0), answered) for stage in STAGES}
    total = sum(one.mean_ms for one in stages.values())
    return Work(
        answered=answered,
        errors={},
        stages={**stages, "total": summary(total, answered, p99_ms)} if answered else {},
    )


def variant(name: str = "f32", cost: float = 1.0) -> VariantPart:
    tensor = TensorInfo("x", (1, 2), "float32", 0.0, 0)
    return VariantPart(
        name=name,
        cost=cost,
        accuracy=None,
        invoke_ms=2.5,
        memory_bytes=3 << 20,
        inputs=(tensor,),
        outputs=(tensor,),
    )


def version(name: str = "1", state: str = "active", **fields: Any) -> VersionPart:
    given = {"reason": None, "previous": False, "bytes": 1000, "variants": [variant()], **fields}
    return VersionPart(version=name, state=state, **given)


def model(name: str = "face", **fields: Any) -> ModelDocument:
    """A model whose one version serves and has answered a hundred times."""
    serving = ModelDocument(
        name=name,
        uri=model_uri(name),
        title=name.title(),
        description="What is tested",
        licence="Apache-2.0",
        source="tests",
        active="1",
        tool=f"infer_{name}",
        input={"kind": "image", "width": 8, "height": 8},
        output={"kind": "classification"},
        labels=2,
        labels_uri=f"{model_uri(name)}/labels",
        versions=[version()],
        loaded=[
            LoadedPart(version="1", variant="f32", state="ready", memory_bytes=1 << 20, waiting=0, streams=0)
        ],
        work=work(),
    )
    return msgspec.structs.replace(serving, **fields)


MCP: Final = McpStatus(
    server_id="lab-7",
    server_name="edged/vision",
    boot_id="a1",
    identity="serving",
    rival=None,
    conflicts=0,
    access="guarded",
    clients=1,
    openings=0,
    answers_kept=0,
    results_kept=0,
    counts={},
)
SPOOL: Final = SpoolStatus(
    spool="5b00",
    records={},
    budget_bytes=1 << 26,
    acknowledged_by="broker",
    held_by="",
    sent=0,
    refused={},
    lost={},
    spent_bytes=0,
    daily_bytes=None,
    fleet_heard_s_ago=1.0,
    disk="ok",
)


def health(broker: str | None = "mqtts://broker.lan", reason: str = "not connected yet") -> Health:
    """A connection that came about at once, or not."""
    return Health(broker=broker, reason=reason, connects=1, losses=0, taken_over=0, under_way=0, faults=0)


def network(
    mcp: Health | None = None,
    management: Health | None = None,
    status: McpStatus = MCP,
    spool: SpoolStatus = SPOOL,
) -> NetworkDocument:
    """A device on one broker."""
    connections = {"mcp": mcp or health(), "management": management or health()}
    return network_document(["mqtts://broker.lan"], connections, status, spool)
