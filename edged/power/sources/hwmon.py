"""Hardware monitors beyond temperatures: the Pi's under-voltage alarm, Jetson rails, INA219 fuel gauges, fans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edged.power.readings import Raw, slug
from edged.power.sources.source import Probe, Source
from edged.power.sysfs import files, folders, once


class Hwmon(Source):
    """`supply.undervoltage`, `rail.*` and `fan.*` of /sys/class/hwmon, and rails of the iio driver of JetPack 4."""

    name = "hwmon"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._rails: list[tuple[str, Path, Path]] = []

    def find(self) -> Iterable[Probe]:
        """By the chip's name: hwmonN changes from boot to boot."""
        self._rails = []
        for chip in folders(self.root / "sys/class/hwmon", "hwmon*"):
            name = once(chip / "name") or ""
            if name == "rpi_volt":
                yield Probe("supply.undervoltage", chip / "in0_lcrit_alarm", "")
            elif name == "ina3221":
                yield from self._ina3221(chip)
            elif name == "ina219":
                yield from self._ina219(chip)
            for path in files(chip, "fan*_input"):
                yield Probe(f"fan.{slug(name)}", path, "1/min")
        for device in folders(self.root / "sys/bus/iio/devices", "iio:device*"):
            yield from _iio(device)

    def paths(self) -> set[Path]:
        """The probes, and the two factors of each rail's power."""
        return super().paths() | {path for _, volts, amperes in self._rails for path in (volts, amperes)}

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """The power of each INA3221 rail: the chip gives millivolts and milliamperes."""
        for name, volts_at, amperes_at in self._rails:
            volts, note = self.attributes.at(volts_at).number(1e-3)
            amperes, other = self.attributes.at(amperes_at).number(1e-3)
            watts = None if volts is None or amperes is None else round(volts * amperes, 4)
            yield Raw(f"rail.{name}.power", watts, "W", str(amperes_at), note or other)

    def _ina3221(self, chip: Path) -> Iterable[Probe]:
        """Channels 1 to 3, named by the device tree (Documentation/hwmon/ina3221.rst)."""
        for label_at in files(chip, "in[123]_label"):
            label, number = once(label_at), label_at.name[2]
            if label and label != "NC":
                self._rails.append((label, chip / f"in{number}_input", chip / f"curr{number}_input"))
                if (chip / f"curr{number}_crit_alarm").exists():
                    yield Probe(f"rail.{label}.overcurrent", chip / f"curr{number}_crit_alarm", "")

    def _ina219(self, chip: Path) -> Iterable[Probe]:
        """in1 is the bus, the battery's side of the shunt (Documentation/hwmon/ina2xx.rst)."""
        yield Probe("gauge.ina219.voltage", chip / "in1_input", "V", 1e-3)
        yield Probe("gauge.ina219.current", chip / "curr1_input", "A", 1e-3)
        yield Probe("gauge.ina219.power", chip / "power1_input", "W", 1e-6)


def _iio(device: Path) -> Iterable[Probe]:
    """INA3221 as JetPack 4 has it: rail_name_N, in_powerN_input in milliwatts."""
    for name_at in files(device, "rail_name_*"):
        number = name_at.name.removeprefix("rail_name_")
        if (label := once(name_at)) is not None:
            yield Probe(f"rail.{label}.power", device / f"in_power{number}_input", "W", 1e-3)
