"""Batteries and mains as the kernel's power supply class shows them: laptops, and fuel gauges with a driver."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edged.power.readings import Raw
from edged.power.sources.source import Probe, Source
from edged.power.sysfs import folders, once

MAINS_TYPES = {"Mains", "USB", "USB_C", "USB_PD", "Wireless"}  # Documentation/ABI/testing/sysfs-class-power
STATUS_MAINS = {"Charging": 1.0, "Full": 1.0, "Not charging": 1.0, "Discharging": 0.0}
"""A gauge that knows no charger (MAX17040) says Unknown, or has no status: then mains is unknown too."""
MICRO = 1e-6


class Supply(Source):
    """`battery.*` of the system's batteries. A mouse's is left out: its scope is Device."""

    name = "power_supply"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._batteries: list[Path] = []
        self._mains: list[Path] = []

    def find(self) -> Iterable[Probe]:
        """Batteries and mains by their type; all is read in `more`, since it is added up."""
        self._batteries, self._mains = [], []
        for supply in folders(self.root / "sys/class/power_supply"):
            kind = once(supply / "type")
            if kind == "Battery" and once(supply / "scope") != "Device":
                self._batteries.append(supply)
            elif kind in MAINS_TYPES:
                self._mains.append(supply)
        return ()

    def paths(self) -> set[Path]:
        """Whatever these supplies have."""
        return {path for supply in (*self._batteries, *self._mains) for path in supply.glob("*")}

    def more(self, now: float) -> Iterable[Raw]:  # noqa: ARG002 - it is read at every look
        """The batteries together: their mean charge, their power added up, and whether mains is there."""
        if not self._batteries:
            return
        where = ", ".join(str(supply) for supply in self._batteries)
        charges = [self._charge(supply) for supply in self._batteries]
        known = [charge for charge, _ in charges if charge is not None]
        note = next((note for _, note in charges if note), "")
        charge = sum(known) / len(known) if len(known) == len(charges) else None
        yield Raw("battery.percent", charge, "%", where, note)
        yield from self._flow(where)
        yield self._mains_reading(where)

    def _charge(self, supply: Path) -> tuple[float | None, str]:
        """Percent: MAX17040 goes up to 104 and more on a full cell."""
        value, note = self.attributes.at(supply / "capacity").number()
        if value is not None:
            return min(100.0, value), note
        for now_at, full_at in (("energy_now", "energy_full"), ("charge_now", "charge_full")):
            held, full = self._number(supply, now_at), self._number(supply, full_at)
            if held is not None and full:
                return min(100.0, 100 * held / full), ""
        return None, note

    def _flow(self, where: str) -> Iterable[Raw]:
        volts = [self._number(supply, "voltage_now", MICRO) for supply in self._batteries]
        watts = [self._watts(supply) for supply in self._batteries]
        if any(volt is not None for volt in volts):
            yield Raw("battery.voltage", next(v for v in volts if v is not None), "V", where)
        if all(watt is not None for watt in watts):
            yield Raw("battery.power", sum(watt or 0.0 for watt in watts), "W", where)
        held = [self._number(supply, "energy_now", MICRO) for supply in self._batteries]
        if all(energy is not None for energy in held):
            yield Raw("battery.energy", sum(energy or 0.0 for energy in held), "Wh", where)

    def _watts(self, supply: Path) -> float | None:
        """Out of the battery or into it, always positive: drivers do not agree on the sign."""
        if (watts := self._number(supply, "power_now", MICRO)) is not None:
            return abs(watts)
        amperes = self._number(supply, "current_now", MICRO)
        volts = self._number(supply, "voltage_now", MICRO)
        return None if amperes is None or volts is None else abs(amperes * volts)

    def _mains_reading(self, where: str) -> Raw:
        """A charger that says so, else what the battery says of itself."""
        online = [(self._number(supply, "online"), supply) for supply in self._mains]
        known = [(value, supply) for value, supply in online if value is not None]
        if known:
            plugged = max(value for value, _ in known)
            return Raw("battery.mains", min(1.0, plugged), "", ", ".join(str(s / "online") for _, s in known))
        says = [STATUS_MAINS.get(self._text(supply, "status") or "") for supply in self._batteries]
        if any(value is not None for value in says):
            return Raw("battery.mains", max(v for v in says if v is not None), "", f"{where} status")
        return Raw("battery.mains", None, "", where, "this gauge does not know of a charger")

    def _number(self, supply: Path, name: str, scale: float = 1.0) -> float | None:
        return self.attributes.at(supply / name).number(scale).value

    def _text(self, supply: Path, name: str) -> str | None:
        return self.attributes.at(supply / name).text().text
