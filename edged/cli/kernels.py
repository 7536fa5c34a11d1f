"""`edged kernels`: compile the preprocessing for this CPU, and say what would be used."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path


def build(arguments: argparse.Namespace) -> int:
    """Run the compiling child: numba lives and dies there."""
    command = [sys.executable, "-m", "edged.inference.kernels.build", "--cache", str(_cache(arguments))]
    if arguments.json:
        command.append("--json")
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own module, our own interpreter


def status(arguments: argparse.Namespace) -> int:
    """Say which backend the daemon would use, and why."""
    from edged.inference.kernels.seam import choose

    chosen = choose("auto", _cache(arguments))
    if arguments.json:
        print(json.dumps({"kernels": chosen.kernels.name, "reason": chosen.reason}))
    else:
        print(f"{chosen.kernels.name}: {chosen.reason}")
    return 0


def _cache(arguments: argparse.Namespace) -> Path:
    if arguments.cache:
        return Path(arguments.cache)
    if directory := os.environ.get("CACHE_DIRECTORY"):  # systemd.exec(5)
        return Path(directory) / "kernels"
    from edged.cli.run import load_config

    return Path(load_config(arguments.config).paths.cache) / "kernels"
