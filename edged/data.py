"""Where the files that ship with edged are: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent


def folder(name: Literal["hardware", "models", "systemd"]) -> Path:
    """The folder of that name, read-only; FileNotFoundError where the installation is incomplete."""
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"edged is installed without its {name} folder")
