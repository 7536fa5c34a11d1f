"""What tells this board from another one that starts from a copy of its disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_USELESS = re.compile(r"^[0\s:-]*$")


class Mark(NamedTuple):
    """Something a board is known by."""

    source: str
    """Which file said it."""
    value: str

    @property
    def digest(self) -> bytes:
        """16 bytes that tell boards apart without telling their serial numbers."""
        return hashlib.sha256(f"edged/v1/board\0{self.source}\0{self.value}".encode()).digest()[:16]


def mark(root: Path = Path("/")) -> Mark:
    """The best mark that every user of this board can read; machine-id, which a copied disk carries along, is last."""
    return next(_marks(root), Mark("none", ""))


def _marks(root: Path) -> Iterator[Mark]:
    for source in ("proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number"):
        if value := _read(root / source):
            yield Mark("device-tree", value)
    if found := re.search(r"^Serial\s*:\s*(\S+)$", _read(root / "proc/cpuinfo"), re.MULTILINE):
        yield Mark("cpuinfo", found[1])
    yield from _addresses(root / "sys/class/net")
    if value := _read(root / "etc/machine-id"):
        yield Mark("machine-id", value)


def _addresses(net: Path) -> Iterator[Mark]:
    """Burnt-in addresses of network interfaces that nobody can unplug."""
    for interface in sorted(net.glob("*")):
        device = interface / "device"
        burnt_in = device.exists() and _read(interface / "addr_assign_type", zero=True) == "0"
        if burnt_in and "/usb" not in str(device.resolve()) and (value := _read(interface / "address")):
            yield Mark("mac", value)


def _read(path: Path, *, zero: bool = False) -> str:
    try:
        text = path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
    return "" if _USELESS.match(text) and not zero else text
