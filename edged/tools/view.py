"""The device as its resources and prompts show it, put together from what the rooms say.

Nothing here waits: what lies on disk is in the `Inventory`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from edged import __version__
from edged.errors import NotFound
from edged.inference import stats
from edged.inference.manifest import Manifest
from edged.limits import Limits
from edged.power.service import Event
from edged.tools import board
from edged.tools.device import Engine
from edged.tools.documents import (
    DeviceDocument,
    LabelsDocument,
    MetricsDocument,
    ModelDocument,
    ModelLine,
    NetworkDocument,
    VariantPart,
    VersionPart,
    loaded_of,
    work_of,
)
from edged.tools.inventory import Installed, Inventory, Version
from edged.tools.readings import Sample
from edged.tools.uris import labels_uri, model_uri


class Rooms(msgspec.Struct, frozen=True, kw_only=True):
    """What the view asks, each time anew."""

    limits: Callable[[], Limits]
    engine: Callable[[], Engine | None]
    inference: Callable[[], stats.Status | None]
    """None before the first model serves."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    sample: Callable[[], Sample]
    """What was read of the board."""
    network: Callable[[], NetworkDocument]
    events: Callable[[], Sequence[Event]] = lambda: ()
    """The last changes of the limits, newest first."""


class View:
    """Makes documents; for the event loop's thread."""

    def __init__(self, rooms: Rooms, inventory: Inventory) -> None:
        self._rooms = rooms
        self._inventory = inventory
        self._started_s = rooms.clock()

    @cached_property
    def board(self) -> board.Board:
        """What the board is."""
        return board.look()

    @property
    def models(self) -> Mapping[str, Installed]:
        """Every installed model, by name."""
        return self._inventory.models

    def device(self) -> DeviceDocument:
        """What the device is, and how."""
        return DeviceDocument(
            hostname=platform.node(),
            edged=__version__,
            uptime_s=self._uptime_s(),
            board=self.board,
            engine=self._rooms.engine(),
            limits=self._rooms.limits(),
            readings=dict(self._rooms.sample()),
            models=[_line(one, one.active) for _, one in sorted(self.models.items()) if one.active],
            installed=len(self.models),
        )

    def model(self, name: str) -> ModelDocument:
        """One model; raises NotFound, naming those that are there."""
        installed = self._installed(name)
        status = self._rooms.inference()
        manifest = installed.described.manifest if installed.described else None
        active = installed.active
        return ModelDocument(
            name=name,
            uri=model_uri(name),
            title=manifest.title if manifest else None,
            description=manifest.description if manifest else None,
            licence=manifest.licence if manifest else None,
            source=manifest.source if manifest else None,
            active=active.slot.version if active else None,
            tool=f"infer_{name}" if active else None,
            input=msgspec.to_builtins(manifest.input) if manifest else None,
            output=_output(manifest) if manifest else None,
            labels=len(installed.labels),
            labels_uri=labels_uri(name) if installed.labels else None,
            versions=[_version(version) for version in installed.versions],
            loaded=loaded_of(name, status),
            work=work_of(name, status),
        )

    def labels(self, name: str) -> LabelsDocument:
        """What one model can say; raises NotFound where there is no such model, or it has no labels."""
        installed = self._installed(name)
        if installed.described is None or not installed.labels:
            raise NotFound(f"model {name} has no labels")
        version = installed.described.slot.version
        return LabelsDocument(name=name, version=version, labels=list(installed.labels))

    def metrics(self) -> MetricsDocument:
        """What is counted and measured, now."""
        status = self._rooms.inference()
        names = sorted({*self.models, *(status.outcomes if status else ())})
        return MetricsDocument(
            uptime_s=self._uptime_s(),
            readings=dict(self._rooms.sample()),
            limits=self._rooms.limits(),
            in_hand=status.in_hand if status else 0,
            memory_bytes=status.memory_bytes if status else 0,
            memory_budget_bytes=status.memory_budget_bytes if status else None,
            loaded={name: loaded_of(name, status) for name in names},
            work={name: work_of(name, status) for name in names},
        )

    def network(self) -> NetworkDocument:
        """How the device is on the network."""
        return self._rooms.network()

    def _installed(self, name: str) -> Installed:
        if (installed := self.models.get(name)) is None:
            known = ", ".join(sorted(self.models)) or "none"
            raise NotFound(f"no model {name[:63]!r}; installed: {known}")
        return installed

    def _uptime_s(self) -> float:
        return round(self._rooms.clock() - self._started_s, 1)


def _line(installed: Installed, active: Version) -> ModelLine:
    return ModelLine(
        name=installed.name,
        version=active.slot.version,
        title=active.manifest.title if active.manifest else installed.name,
        tool=f"infer_{installed.name}",
        uri=model_uri(installed.name),
    )


def _output(manifest: Manifest) -> dict[str, Any]:
    """What a model gives; its labels, which may be thousands, have a resource of their own."""
    return {key: value for key, value in msgspec.to_builtins(manifest.output).items() if key != "labels"}


def _version(version: Version) -> VersionPart:
    slot, manifest = version
    return VersionPart(
        version=slot.version,
        state=slot.state.value,
        reason=slot.reason,
        previous=slot.previous,
        bytes=slot.size_bytes,
        variants=[VariantPart.of(v, slot.reports.get(v.name)) for v in manifest.variants] if manifest else [],
    )
