"""Tools about the device itself: is it there, how is it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from edged import __version__
from edged.inference import stats as inference_stats
from edged.limits import Limits
from edged.mcp.catalog import Annotations, Call, Tier, Tool, ToolResult
from edged.power.readings import Readings
from edged.power.service import Power
from edged.power.service import Status as PowerStatus
from edged.tools.keys import KeysState

READ_ONLY = Annotations(read_only=True, destructive=False, idempotent=True)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Echo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say back."""

    text: Annotated[str, Meta(max_length=65536)]


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What runs the models; None before the first model is loaded."""

    runtime: str
    kernels: str
    kernels_reason: str


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An active model and what it has done since the daemon started."""

    name: str
    version: str
    loaded: list[str]
    """Variants in memory."""
    waiting: int
    """Calls queued or running."""
    answered: int
    failed: int
    """Refused, rejected, cancelled and faulty calls together."""
    p50_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, name: str, version: str, inference: inference_stats.Status | None) -> ModelStatus:
        """One model's part of what the inference room says."""
        loaded = [m for m in inference.models if (m.name, m.version) == (name, version)] if inference else []
        outcomes = dict(inference.outcomes.get(name, {})) if inference else {}
        answered = outcomes.pop("answered", 0)
        total = inference.stages.get(name, {}).get("total") if inference else None
        return cls(
            name=name,
            version=version,
            loaded=[m.variant for m in loaded if m.state == "ready"],
            waiting=sum(m.in_hand for m in loaded),
            answered=answered,
            failed=sum(outcomes.values()),
            p50_ms=total.p50_ms if total else None,
            p99_ms=total.p99_ms if total else None,
        )


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the device is."""

    version: str
    hostname: str
    machine: str
    python: str
    uptime_s: float
    pid: int
    readings: Readings
    limits: Limits
    power: PowerStatus
    engine: Engine | None
    models: list[ModelStatus]
    keys: KeysState
    network: str
    """Connected to which broker, not connected and why, or that there are no brokers."""


def tools(
    limits: Callable[[], Limits],
    power: Power,
    engine: Callable[[], Engine | None],
    models: Callable[[], list[ModelStatus]],
    keys: Callable[[], KeysState],
    network: Callable[[], str],
) -> list[Tool]:
    """The tools; each argument is asked at every call."""
    started = time.monotonic()

    def status(_call: Call, _arguments: Nothing) -> ToolResult:
        found = Status(
            version=__version__,
            hostname=platform.node(),
            machine=platform.machine(),
            python=platform.python_version(),
            uptime_s=round(time.monotonic() - started, 1),
            pid=os.getpid(),
            readings=Readings.of(power.sample),
            limits=limits(),
            power=power.status(),
            engine=engine(),
            models=models(),
            keys=keys(),
            network=network(),
        )
        return ToolResult(structured=found, text=describe(found))

    return [
        Tool(
            name="device_status",
            title="Device status",
            description="How this device is: temperature, battery, memory, load, current limits, their band and why, "
            "active models with their latency, what runs them, the broker it is connected to.",
            arguments=Nothing,
            result=Status,
            handler=status,
            tier=Tier.READ,
            annotations=READ_ONLY,
        ),
        Tool(
            name="echo",
            title="Echo",
            description="Says back what it is given: for checking a connection and its latency.",
            arguments=Echo,
            result=Echo,
            handler=lambda _call, arguments: ToolResult(structured=arguments, text=arguments.text),
            tier=Tier.READ,
            annotations=READ_ONLY,
        ),
    ]


def describe(status: Status) -> str:
    """One line that a small model can use."""
    readings = status.readings
    heat = "temperature unknown" if readings.temperature_c is None else f"{readings.temperature_c:.0f} C"
    battery = "" if readings.battery_pct is None else f", battery {readings.battery_pct:.0f} %"
    names = ", ".join(model.name for model in status.models) or "none"
    limits = status.limits.reason
    board = status.power.board
    return (
        f"edged {status.version} on {status.hostname} ({board}): {heat}{battery}; limits: {limits}; "
        f"models: {names}; network: {status.network}"
    )
