"""Who waits for memory, CPU and disk (PSI), what our control group allows, and how worn the eMMC is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edged.power.readings import Raw
from edged.power.sources.source import Probe, Source
from edged.power.sysfs import folders, once

RESOURCES = ("cpu", "memory", "io")
LIFE_EXCEEDED = 0x0B  # JEDEC JESD84-B51 7.4.64: 0x01 is 0-10 % used, 0x0A 90-100 %, 0x0B more


class Pressure(Source):
    """`pressure.*`; absent on Raspberry Pi OS unless it boots with psi=1."""

    name = "pressure"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._files: list[tuple[str, Path]] = []

    def find(self) -> Iterable[Probe]:
        """One file a resource (Documentation/accounting/psi.rst)."""
        folder = self.root / "proc/pressure"
        self._files = [(name, folder / name) for name in RESOURCES if (folder / name).exists()]
        return ()

    def paths(self) -> set[Path]:
        """The files."""
        return {path for _, path in self._files}

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """Percent of the last ten seconds in which some, or all, tasks waited."""
        for name, path in self._files:
            text, note = self.attributes.at(path).text()
            shares = parse_psi(text or "")
            for who in ("some", "full"):
                if who in shares or who == "some":
                    yield Raw(f"pressure.{name}.{who}", shares.get(who), "%", str(path), note)


def parse_psi(text: str) -> dict[str, float]:
    """The avg10 of each line."""
    shares = {}
    for line in text.splitlines():
        who, _, rest = line.partition(" ")
        fields = dict(field.split("=", 1) for field in rest.split() if "=" in field)
        try:
            shares[who] = float(fields["avg10"])
        except (KeyError, ValueError):
            continue
    return shares


class Cgroup(Source):
    """`cgroup.memory.*` of the control group this process is in (version 2); limits of "max" are no limit."""

    name = "cgroup"

    def find(self) -> Iterable[Probe]:
        """Nothing where the memory controller is off, as Raspberry Pi OS boots."""
        for line in (once(self.root / "proc/self/cgroup") or "").splitlines():
            if line.startswith("0::/"):
                group = self.root / "sys/fs/cgroup" / line.removeprefix("0::/")
                for name, file in (
                    ("used", "memory.current"),
                    ("max", "memory.max"),
                    ("high", "memory.high"),
                ):
                    if once(group / file) not in {None, "max"}:
                        yield Probe(f"cgroup.memory.{name}", group / file, "B")


class Emmc(Source):
    """`storage.*.life_used`; an SD card reports none."""

    name = "emmc"

    def find(self) -> Iterable[Probe]:
        """Read in `more`: two estimates in one file."""
        return ()

    def paths(self) -> set[Path]:
        """The files."""
        return set(self._files())

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """Percent of the guaranteed life used, in steps of ten, of the more worn of both memory types."""
        for path in self._files():
            text, note = self.attributes.at(path).text()
            try:
                steps = max(int(word, 16) for word in (text or "").split())
            except ValueError:
                steps = 0
            used = 10.0 * min(steps, LIFE_EXCEEDED) if steps else None
            name = path.parent.parent.name
            yield Raw(f"storage.{name}.life-used", used, "%", str(path), note if used is None else "")

    def _files(self) -> list[Path]:
        devices = folders(self.root / "sys/block", "mmcblk*")
        return [path for device in devices if (path := device / "device/life_time").exists()]
