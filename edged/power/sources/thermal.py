"""Thermal zones, whether or not psutil shows them, what the kernel does to cool them, and what the firmware says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edged.power.readings import Raw, slug
from edged.power.sources.source import Probe, Source
from edged.power.sysfs import files, folders, once

THROTTLED_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""vcgencmd get_throttled, raspberrypi/documentation os/using-gpio/vcgencmd: bits 16 up are the same, since boot."""


class Thermal(Source):
    """`heat.*` of /sys/class/thermal, `cooling.*`, and `throttle.*` of the Raspberry Pi's firmware.

    psutil leaves every zone out as soon as one hwmon temperature exists, as with an NVMe drive in a Jetson.
    """

    name = "thermal"

    def find(self) -> Iterable[Probe]:
        """Zones and cooling devices by their type."""
        seen: dict[str, int] = {}
        for zone in folders(self.root / "sys/class/thermal", "thermal_zone*"):
            if (kind := once(zone / "type")) is not None:
                yield Probe(f"heat.{_unique(slug(kind), seen)}", zone / "temp", "°C", 1e-3)
        for device in folders(self.root / "sys/class/thermal", "cooling_device*"):
            if (kind := once(device / "type")) is not None:
                yield Probe(f"cooling.{_unique(slug(kind), seen)}", device / "cur_state", "")

    def paths(self) -> set[Path]:
        """The zones, and the firmware's word."""
        return super().paths() | set(self._throttled())

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """The firmware's bits: what is so now; bits 16 up stay set until they are asked for and are left out."""
        for path in self._throttled():
            text, note = self.attributes.at(path).text()
            try:
                bits = int(text, 16) & 0xF if text is not None else None
            except ValueError:
                bits, note = None, f"not hexadecimal: {text!r}"
            said = ", ".join(words for bit, words in THROTTLED_BITS.items() if bits and bits >> bit & 1)
            yield Raw("throttle.firmware", bits, "", str(path), note or said)

    def _throttled(self) -> list[Path]:
        soc = self.root / "sys/devices/platform/soc"
        return [*files(soc, "soc:firmware/get_throttled")][:1]


def passive_trip_c(zone: Path) -> float | None:
    """The lowest trip of a zone at which the kernel slows the board, °C; None where it has none above 40 °C."""
    found = []
    for path in files(zone, "trip_point_*_type"):
        if once(path) in {"passive", "hot"}:
            raw = once(path.with_name(path.name.replace("_type", "_temp")))
            if raw is not None and raw.lstrip("-").isdecimal():
                found.append(int(raw) / 1000)
    return min((trip for trip in found if trip > 40), default=None)


def _unique(name: str, seen: dict[str, int]) -> str:
    seen[name] = seen.get(name, 0) + 1
    return name if seen[name] == 1 else f"{name}-{seen[name]}"
