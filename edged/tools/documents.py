"""What the resources hold: the shape of each, fixed and listed in docs/agents.md.

A field is added, never renamed or given another meaning. None is unknown or absent, never zero.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from edged.inference import stats
from edged.inference.manifest import Variant
from edged.inference.trial.report import Report, TensorInfo
from edged.limits import Limits
from edged.links.mqtt.status import Health, McpStatus
from edged.links.spool.status import SpoolStatus
from edged.masking import masked
from edged.metrics import Summary
from edged.tools.board import Board
from edged.tools.device import Engine
from edged.tools.readings import Reading


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model that serves, in a line."""

    name: str
    version: str
    title: str
    tool: str
    uri: str


class DeviceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://device`."""

    hostname: str
    edged: str
    """Version of the daemon."""
    uptime_s: float
    board: Board
    engine: Engine | None
    """None before the first model serves."""
    limits: Limits
    readings: dict[str, Reading]
    """By what is read, its kind first: heat.hottest, battery.percent."""
    models: list[ModelLine]
    installed: int
    """Models that are there, serving or not."""


class VariantPart(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a version: what its manifest says, and what its trial measured on this board."""

    name: str
    cost: float
    """Time of an inference relative to the first variant's."""
    accuracy: float | None
    invoke_ms: float | None
    memory_bytes: int | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @classmethod
    def of(cls, variant: Variant, report: Report | None) -> VariantPart:
        """A variant with its trial's report; None where the record of it is damaged."""
        return cls(
            name=variant.name,
            cost=variant.cost,
            accuracy=variant.accuracy,
            invoke_ms=round(report.invoke_ms, 3) if report else None,
            memory_bytes=report.memory_bytes if report else None,
            inputs=report.inputs if report else (),
            outputs=report.outputs if report else (),
        )


class VersionPart(msgspec.Struct, frozen=True, kw_only=True):
    """One installed version."""

    version: str
    state: str
    """active, ready, or quarantined."""
    reason: str | None
    """Why it is quarantined."""
    previous: bool
    """Whether a rollback leads here."""
    bytes: int
    variants: list[VariantPart]
    """Best first; empty where its manifest is damaged."""


class LoadedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A variant in memory, or on its way in or out."""

    version: str
    variant: str
    state: str
    """loading, ready, or leaving."""
    memory_bytes: int
    waiting: int
    """Calls queued or running."""
    streams: int


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has done since the daemon started, over all its versions."""

    answered: int
    errors: dict[str, int]
    """By the error's name."""
    stages: dict[str, Summary]
    """By queue, decode, preprocess, invoke, postprocess and total; of answers only."""


class ModelDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://models/{name}`."""

    name: str
    uri: str
    title: str | None
    description: str | None
    licence: str | None
    source: str | None
    active: str | None
    """The version that serves."""
    tool: str | None
    """The tool it answers to; None where no version serves."""
    input: dict[str, Any] | None
    """What goes in, as in the manifest of the version described: the active one, else the last installed."""
    output: dict[str, Any] | None
    """Likewise what comes out, without its labels."""
    labels: int
    """How many it knows."""
    labels_uri: str | None
    versions: list[VersionPart]
    loaded: list[LoadedPart]
    work: Work


class LabelsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://models/{name}/labels`."""

    name: str
    version: str
    labels: list[str]


class MetricsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://metrics`."""

    uptime_s: float
    """When this was put together."""
    readings: dict[str, Reading]
    limits: Limits
    in_hand: int
    """Calls queued or running, of all models."""
    memory_bytes: int
    """Of all loaded models."""
    memory_budget_bytes: int | None
    """None before the first model serves."""
    loaded: dict[str, list[LoadedPart]]
    """By model."""
    work: dict[str, Work]
    """By model."""


class NetworkDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://network`."""

    state: str
    """In words: connected to which broker, not connected and why, or that there are no brokers."""
    troubles: list[str] = []
    """What is wrong, in words, worst first; empty where nothing is known to be."""
    brokers: list[str] = []
    """As the config has them, in order of preference."""
    connections: dict[str, Health] = {}
    """By what they are for: mcp; management, which is telemetry, state and the fleet."""
    mcp: McpStatus | None = None
    """None without brokers."""
    spool: SpoolStatus | None = None
    """Likewise."""


class ConfigDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://config`."""

    config: dict[str, Any]
    """Every table as it runs, defaults included; a secret that has a value is `(set)`."""
    masked: list[str]
    """The paths of those secrets."""
    live: list[str]
    """Tables that a reload changes at once."""
    waiting: list[str]
    """Tables that the file has changed and that wait for a restart."""


def config_document(
    config: msgspec.Struct, live: Collection[str], waiting: Collection[str]
) -> ConfigDocument:
    """The config without its secrets."""
    shown = masked(config)
    return ConfigDocument(config=shown.value, masked=shown.paths, live=sorted(live), waiting=sorted(waiting))


def work_of(name: str, status: stats.Status | None) -> Work:
    """One model's part of what the inference room counted."""
    outcomes = dict(status.outcomes.get(name, {})) if status else {}
    return Work(
        answered=outcomes.pop("answered", 0),
        errors=dict(sorted(outcomes.items())),
        stages=status.stages.get(name, {}) if status else {},
    )


def loaded_of(name: str, status: stats.Status | None) -> list[LoadedPart]:
    """One model's variants in memory."""
    return [
        LoadedPart(
            version=model.version,
            variant=model.variant,
            state=model.state,
            memory_bytes=model.memory_bytes,
            waiting=model.in_hand,
            streams=model.streams,
        )
        for model in (status.models if status else [])
        if model.name == name
    ]
