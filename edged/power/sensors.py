"""Every sensor of the board behind one call: psutil first, then what psutil cannot see. It blocks: use its thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from edged.power.readings import Raw, slug
from edged.power.sources.alarm import Undervoltage
from edged.power.sources.hwmon import Hwmon
from edged.power.sources.pisugar import PiSugar
from edged.power.sources.pressure import Cgroup, Emmc, Pressure
from edged.power.sources.supply import Supply
from edged.power.sources.thermal import Thermal, passive_trip_c
from edged.power.sysfs import folders, once

TRIP_C = (60.0, 120.0)
"""Limits outside are a driver's placeholder, not the board's."""
THROTTLE_AT_HIGH = {"coretemp"}
"""Documentation/hwmon/coretemp.rst: temp*_max is where the CPU's cooling has to be at full, crit is TjMax."""


class Reads(Protocol):
    """A group of readings that are read together."""

    name: str

    def read(self, now: float) -> list[Raw]:
        """All of it; `now` in seconds, monotonic. What is unknown is among it; OSError for what was not foreseen."""

    def close(self) -> None:
        """Let go of every descriptor."""


class Psutil:
    """What psutil sees: temperatures, battery, CPU, memory, disk and this process."""

    name = "psutil"

    def __init__(self, disk: Path, *, board: bool = True) -> None:
        """Without `board` only what is the process's and the machine's, for a board that lies in files."""
        self._disk, self._board = disk, board
        self._psutil: Any = None
        self._own: tuple[float, float] | None = None

    def read(self, now: float) -> list[Raw]:
        """All of it now; imports psutil at the first."""
        if self._psutil is None:
            import psutil  # noqa: PLC0415 - 2 MB and 25 ms that belong into the sampling thread

            self._psutil = psutil
            self._process = psutil.Process()
            psutil.cpu_percent()  # from here on it tells the load since the call before
        looks = [self._cpu, lambda: self._process_share(now), self._memory, self._storage]
        if self._board:
            looks += [self._heat, self._battery]
        return [raw for look in looks for raw in _known(look)]

    def close(self) -> None:
        """Psutil keeps nothing open."""

    def _heat(self) -> Iterable[Raw]:
        for group, sensors in self._psutil.sensors_temperatures().items():
            for index, sensor in enumerate(sensors):
                name = slug(group) + (f".{slug(sensor.label)}" if sensor.label else "")
                if index and not sensor.label:
                    name += f"-{index + 1}"
                source = f"psutil.sensors_temperatures {group}"
                yield Raw(f"heat.{name}", sensor.current, "°C", source)
                if _slows(group, sensor):
                    yield Raw(f"trip.{name}", sensor.high, "°C", source)

    def _battery(self) -> Iterable[Raw]:
        battery = self._psutil.sensors_battery() if _one_battery() else None
        if battery is not None:
            source = "psutil.sensors_battery"
            yield Raw("battery.percent", battery.percent, "%", source)
            if battery.power_plugged is not None:
                yield Raw("battery.mains", float(battery.power_plugged), "", source)

    def _cpu(self) -> Iterable[Raw]:
        yield Raw("cpu.busy", self._psutil.cpu_percent(), "%", "psutil.cpu_percent")
        yield Raw("cpu.load", round(self._psutil.getloadavg()[0], 2), "", "psutil.getloadavg")
        if (frequency := self._psutil.cpu_freq()) is not None:
            yield Raw("cpu.frequency", frequency.current, "MHz", "psutil.cpu_freq")

    def _process_share(self, now: float) -> Iterable[Raw]:
        """`cpu.own`: what this process took of all CPUs since the look before."""
        took = self._process.cpu_times()
        before, self._own = self._own, (now, took.user + took.system)
        if before is not None and now > before[0]:
            share = (self._own[1] - before[1]) / (now - before[0]) / self._psutil.cpu_count()
            yield Raw("cpu.own", round(100 * share, 1), "%", "psutil.Process.cpu_times")

    def _memory(self) -> Iterable[Raw]:
        memory = self._psutil.virtual_memory()
        yield Raw("memory.available", memory.available, "B", "psutil.virtual_memory")
        yield Raw("memory.total", memory.total, "B", "psutil.virtual_memory")
        yield Raw("memory.rss", self._process.memory_info().rss, "B", "psutil.Process.memory_info")

    def _storage(self) -> Iterable[Raw]:
        disk = self._psutil.disk_usage(str(self._disk))
        yield Raw("disk.free", disk.free, "B", f"psutil.disk_usage {self._disk}")


class Trips:
    """`trip.*`: where the kernel itself begins to slow the board down, by thermal zone. Read once: it is a fact."""

    name = "trips"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._raws: list[Raw] | None = None

    def read(self, now: float) -> list[Raw]:  # noqa: ARG002 - what every source takes
        """The lowest passive or hot trip of each zone."""
        if self._raws is None:
            zones = folders(self._root / "sys/class/thermal", "thermal_zone*")
            found = [(zone, once(zone / "type") or "", passive_trip_c(zone)) for zone in zones]
            self._raws = [
                Raw(f"trip.{slug(kind)}", trip, "°C", f"{zone}/trip_point_*")
                for zone, kind, trip in found
                if trip is not None and TRIP_C[0] <= trip <= TRIP_C[1]
            ]
        return self._raws

    def close(self) -> None:
        """Nothing is kept open."""
        self._raws = None


def sources(root: Path, disk: Path, pisugar: Path, ring: Callable[[], None] = lambda: None) -> list[Reads]:
    """Every source, in the order of trust; `ring` is called from a thread when something cannot wait."""
    return [
        *(Trips(root), Psutil(disk, board=root == Path("/")), Thermal(root), Supply(root), PiSugar(pisugar)),
        *(Undervoltage(root, ring), Hwmon(root)),
        *(Pressure(root), Cgroup(root), Emmc(root)),
    ]


def _slows(group: str, sensor: Any) -> bool:
    """Whether `high` is where the board slows down: psutil fills it with the critical limit where there is no other."""
    high = sensor.high
    if high is None or not TRIP_C[0] <= high <= TRIP_C[1]:
        return False
    return group in THROTTLE_AT_HIGH or (sensor.critical is not None and high < sensor.critical)


def _one_battery() -> bool:
    """Psutil shows the first battery it finds, be it a mouse's or one of two: then the kernel's classes are asked."""
    supplies = folders(Path("/sys/class/power_supply"))
    batteries = [supply for supply in supplies if once(supply / "type") == "Battery"]
    return len(batteries) == 1 and once(batteries[0] / "scope") != "Device"


def _known(look: Callable[[], Iterable[Raw]]) -> list[Raw]:
    """Nothing where the kernel has no such thing: psutil raises where /sys/class/power_supply is missing."""
    with contextlib.suppress(OSError, AttributeError, NotImplementedError, ValueError, RuntimeError):
        return list(look())
    return []
