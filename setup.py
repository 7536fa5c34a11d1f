"""Ships the checkout's data folders inside the wheel as `edged/_data/`; the rest is in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("hardware", "models", "systemd")
SUFFIXES = {
    *(".toml", ".tflite", ".npz", ".txt", ".md", ".rules"),
    *(".service", ".socket", ".sysusers", ".tmpfiles"),
}


def data_files() -> Iterator[Path]:
    """What a device needs of the data folders: not the scripts and data sets that made it."""
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES:
                yield path


class BuildWithData(build_py):
    """build_py, and the data folders beside the modules; an editable install reads them from the checkout."""

    def run(self) -> None:
        """Build as usual, then copy the data."""
        super().run()
        if not self.editable_mode:
            for source, target in self._data():
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002 - setuptools' own
        """What `run` writes."""
        targets = [] if self.editable_mode else [str(target) for _, target in self._data()]
        return [*super().get_outputs(include_bytecode), *targets]

    def get_source_files(self) -> list[str]:
        """What `run` reads, so that an sdist has it too."""
        return [*super().get_source_files(), *map(str, data_files())]

    def _data(self) -> Iterator[tuple[Path, Path]]:
        return ((source, Path(self.build_lib) / "edged" / "_data" / source) for source in data_files())


setup(cmdclass={"build_py": BuildWithData})
