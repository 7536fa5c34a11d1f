"""`edged run` and `edged check-config`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edged import memory
from edged.cli.main import DEFAULT_CONFIG

if TYPE_CHECKING:
    from edged.config import Config


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    memory.without_openssl()
    memory.one_blas_thread()
    memory.one_arena()
    from edged.daemon import process

    return process.main(lambda: load_config(arguments.config))


def load_config(file: str | None) -> Config:
    """The named config; without a name the default one, or the defaults where there is none."""
    from edged import config

    if file is None and not Path(DEFAULT_CONFIG).exists():
        return config.Config()
    return config.load(Path(file or DEFAULT_CONFIG))


def check_config(arguments: argparse.Namespace) -> int:
    """Print every problem as FILE: line N: path: message; 0 if there is none, else 2."""
    from edged import config

    if arguments.defaults:
        from edged.cli.reference import as_toml

        print(as_toml(config.Config), end="")
        return 0
    problems = config.check(Path(arguments.file))
    if arguments.json:
        print(json.dumps({"file": arguments.file, "problems": [problem._asdict() for problem in problems]}))
    else:
        for problem in problems:
            print(f"{arguments.file}: {problem}")
        if not problems:
            print(f"{arguments.file}: right")
    return 2 if problems else 0
