"""What the board is: what does not change while it runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

_CAP_BYTES = 4096


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A board, and what runs on it; None is unknown."""

    model: str | None
    """By the device tree, else by the firmware's tables (DMI)."""
    machine: str
    """aarch64, x86_64."""
    cpus: int
    """That this process may use."""
    memory_bytes: int | None
    kernel: str
    os: str | None
    python: str


def look(root: Path = Path("/")) -> Board:
    """Read what `root`/proc, sys and etc say; never raises for what is not there."""
    return Board(
        model=_model(root),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=_memory_bytes(root),
        kernel=platform.release(),
        os=_os_name(root),
        python=platform.python_version(),
    )


def _model(root: Path) -> str | None:
    # Devicetree specification 0.4, section 2.3.2: "model", ended by a NUL
    if tree := _text(root / "proc/device-tree/model"):
        return tree
    parts = [_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or None


def _memory_bytes(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal" and rest.split()[:1]:
            return int(rest.split()[0]) * 1024  # proc_meminfo(5): kibibytes
    return None


def _os_name(root: Path) -> str | None:
    for line in (_text(root / "etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")  # os-release(5)
        if name == "PRETTY_NAME":
            return value.strip("\"'") or None
    return None


def _text(path: Path) -> str | None:
    """What a small file says; None where it cannot be read or is empty."""
    try:
        with path.open("rb") as file:
            raw = file.read(_CAP_BYTES)
    except OSError:
        return None
    return raw.decode(errors="replace").strip("\0 \n") or None
