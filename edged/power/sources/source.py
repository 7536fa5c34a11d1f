"""What every source has in common: find, then read what was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from edged.power.readings import Raw
from edged.power.sysfs import Attributes

RESCAN_S = 60.0
"""Between two searches for devices that came or went: a search lists folders, a read only reads."""


class Probe(NamedTuple):
    """One attribute that a source reads at every look."""

    key: str
    path: Path
    unit: str
    scale: float = 1.0


class Source(ABC):
    """A group of readings that are read together; not thread-safe."""

    name: str

    def __init__(self, root: Path) -> None:
        self.root = root
        self.attributes = Attributes()
        self._scanned_at_s: float | None = None
        self._probes: list[Probe] = []

    def read(self, now: float) -> list[Raw]:
        """Everything it finds, now; `now` in seconds, monotonic."""
        if self._scanned_at_s is None or now - self._scanned_at_s >= RESCAN_S:
            self._scanned_at_s = now
            self._probes = list(self.find())
            self.attributes.keep(self.paths())
        return [*map(self._probe, self._probes), *self.more(now)]

    @abstractmethod
    def find(self) -> Iterable[Probe]:
        """What there is to read."""

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - what a subclass may need
        """What is not one number in one file."""
        return ()

    def paths(self) -> set[Path]:
        """What stays open; more than the probes where `more` keeps attributes of its own."""
        return {probe.path for probe in self._probes}

    def close(self) -> None:
        """Close every descriptor; the next read finds everything anew."""
        self._scanned_at_s = None
        self.attributes.close()

    def _probe(self, probe: Probe) -> Raw:
        number, note = self.attributes.at(probe.path).number(probe.scale)
        return Raw(probe.key, number, probe.unit, str(probe.path), note)
