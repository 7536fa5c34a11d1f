"""The board this process runs on: its profile files, and what the device tree says it is."""

from __future__ import annotations

import platform
from pathlib import Path

from edged import data
from edged.errors import BadConfig
from edged.power.boards import Library, Match, identify, library
from edged.power.config import PowerConfig
from edged.power.sysfs import once


def profiles() -> Library:
    """Every profile that ships; BadConfig with every problem of every file."""
    folder = data.folder("hardware")
    made, problems = library(_texts(folder), _texts(folder / "overlays"))
    if made is None:
        raise BadConfig("\n".join(f"hardware/{file}: {problem}" for file, problem in problems))
    return made


def compatible(root: Path) -> list[str]:
    """What the device tree says the board is compatible with, the closest first; empty where there is none."""
    return (once(root / "sys/firmware/devicetree/base/compatible") or "").split("\0")


def model(root: Path) -> str:
    """What the board calls itself."""
    return once(root / "sys/firmware/devicetree/base/model") or ""


def match(config: PowerConfig, known: Library) -> Match:
    """The profile for this board, or the one that the config names; BadConfig where that is unknown."""
    unknown = [name for name in config.overlays if name not in known.overlays]
    if unknown:
        raise BadConfig(f"power.overlays: no {unknown[0]!r}; there are: {', '.join(known.overlays)}")
    try:
        return identify(known, compatible(Path(config.root)), platform.machine(), config.board)
    except KeyError:
        raise BadConfig(f"power.board: no {config.board!r}; there are: {', '.join(known.boards)}") from None


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.toml"))}
