"""The daemon under test: its directories, its config, its compiled kernels and its models."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.peers.process import environment, running

PREPARE_S = 600


class Home:
    """Private paths of one daemon; what is installed in it is there at every start."""

    def __init__(self, root: Path, command: Sequence[str]) -> None:
        """`command` starts the `edged` program, of this checkout or another."""
        self.root, self.command = root, list(command)
        self.socket = root / "run" / "mcp.sock"
        self.kernels = root / "cache" / "kernels"
        self._config = root / "edged.toml"
        for name in ("state", "cache", "run"):
            (root / name).mkdir(mode=0o700, parents=True)
        paths = "".join(f'{name} = "{root / name}"\n' for name in ("state", "cache", "run"))
        self._config.write_text(f'[paths]\n{paths}\n[log]\nlevel = "warning"\n')

    def run(self) -> list[str]:
        """The command that runs the daemon here."""
        return [*self.command, "run", "--config", str(self._config)]

    def prepare(self, kernels: Path, models: Sequence[Path]) -> None:
        """Copy compiled kernels, and install and activate the models (folders with a manifest)."""
        shutil.copytree(kernels, self.kernels)
        if models:
            with running(self.run(), self.socket, self.root / "prepare.log"):
                for folder in models:
                    do(
                        [
                            *self.command,
                            "models",
                            "add",
                            str(folder),
                            "--activate",
                            "--socket",
                            str(self.socket),
                        ]
                    )


def compile_kernels(command: Sequence[str], into: Path) -> Path:
    """Compile the kernels for this CPU, with the `edged` program that `command` starts."""
    into.mkdir(mode=0o700)
    do([*command, "kernels", "build", "--cache", str(into)])
    return into


def do(command: Sequence[str]) -> None:
    """Run to the end; raises RuntimeError with what it said where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PREPARE_S, env=environment(), check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
