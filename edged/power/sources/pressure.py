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
    """`cgroup.memory.*` of the control group this process is in (version 2); limits of "max" are no limit.

    `used` is what the kernel cannot take back without swapping: page cache that nobody reads is no work to shed.
    """

    name = "cgroup"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._group: Path | None = None

    def find(self) -> Iterable[Probe]:
        """Nothing where the memory controller is off, as Raspberry Pi OS boots."""
        for line in (once(self.root / "proc/self/cgroup") or "").splitlines():
            if line.startswith("0::/"):
                group = self.root / "sys/fs/cgroup" / line.removeprefix("0::/")
                self._group = group if once(group / "memory.current") is not None else None
                for name in ("max", "high"):
                    if once(group / f"memory.{name}") not in {None, "max"}:
                        yield Probe(f"cgroup.memory.{name}", group / f"memory.{name}", "B")

    def paths(self) -> set[Path]:
        """The probes', and those of `used`."""
        used = {self._group / "memory.current", self._group / "memory.stat"} if self._group else set()
        return super().paths() | used

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """Memory in use without idle page cache (Documentation/admin-guide/cgroup-v2.rst, memory.stat)."""
        if self._group is None:
            return
        path = self._group / "memory.current"
        used, note = self.attributes.at(path).number(1.0)
        stat, _ = self.attributes.at(self._group / "memory.stat").text()
        lines = (line.partition(" ") for line in (stat or "").splitlines())
        idle = next((float(number) for key, _, number in lines if key == "inactive_file"), 0.0)
        yield Raw("cgroup.memory.used", None if used is None else max(0.0, used - idle), "B", str(path), note)


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
