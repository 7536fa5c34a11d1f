"""Ships the checkout's data folders inside the wheel as `edged/_data/`, and compiled kernels where asked.

With EDGED_KERNELS=generic in the environment (as `./dev wheel` has it) the wheel also carries the kernels, compiled for
every CPU of this architecture, and is tagged for this platform; without, it is pure and any machine can build it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

FOLDERS = ("hardware", "models", "systemd")
WORKSHOPS = {"build", "demo", "packaging"}
"""Folders inside them that only a checkout needs."""
SUFFIXES = {
    *(".toml", ".tflite", ".npz", ".txt", ".md", ".rules"),
    *(".service", ".socket", ".sysusers", ".tmpfiles", ".conf", ".acl"),
}


def with_kernels() -> bool:
    """Whether this wheel carries compiled kernels."""
    return os.environ.get("EDGED_KERNELS") == "generic"


def data_files() -> Iterator[Path]:
    """What a device needs of the data folders: not the scripts and data sets that made it."""
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES and not WORKSHOPS.intersection(path.parts):
                yield path


class BuildWithData(build_py):  # type: ignore[misc] # setuptools has no types
    """build_py, and the data folders beside the modules; an editable install reads them from the checkout."""

    def run(self) -> None:
        """Build as usual, then copy the data and compile."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._data():
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target))
        if with_kernels():
            cache = Path(self.build_lib) / "edged" / "_data" / "kernels"
            build = [
                sys.executable,
                "-m",
                "edged.inference.kernels.build",
                "--cpu",
                "generic",
                "--cache",
                str(cache),
            ]
            subprocess.run(build, check=True)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002 - setuptools' own
        """What `run` writes."""
        targets = [] if self.editable_mode else [str(target) for _, target in self._data()]
        return [*super().get_outputs(include_bytecode), *targets]

    def get_source_files(self) -> list[str]:
        """What `run` reads, so that an sdist has it too."""
        return [*super().get_source_files(), *map(str, data_files())]

    def _data(self) -> Iterator[tuple[Path, Path]]:
        return ((source, Path(self.build_lib) / "edged" / "_data" / source) for source in data_files())


class WheelForPlatform(bdist_wheel):  # type: ignore[misc] # likewise
    """bdist_wheel, tagged for this platform where it carries machine code."""

    def finalize_options(self) -> None:
        """Not pure, if it has kernels."""
        super().finalize_options()
        if with_kernels():
            self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3; this platform, if it has kernels."""
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if with_kernels() else (python, abi, platform)
