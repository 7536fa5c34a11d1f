"""The same questions and the same hostility for tflite-runtime 2.14, in an environment that has only it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig.tflite_venv import PROJECT, tflite_python

__all__ = ["tflite_python"]

pytestmark = pytest.mark.timeout(900)  # the first run installs an environment
HOSTILE_RUNS = 220


def on_tflite(python: Path, *arguments: str) -> str:
    """What a program says in that environment; fails with it."""
    environment = os.environ | {"EDGED_TEST_RUNTIME": "tflite", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [str(python), *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_environment_has_the_packaged_runtime_and_numpy_1(tflite_python: Path) -> None:
    code = (
        "import numpy; from edged.inference.runtime import choose; runtime = choose('tflite');"
        "print(runtime.name, runtime.version, numpy.__version__)"
    )
    assert on_tflite(tflite_python, "-c", code).startswith("tflite-runtime 2.14.0 1.")


@pytest.mark.parametrize(
    "tests", ["test_runtime.py", "test_preflight.py", "test_library.py", "inference/test_answers.py"]
)
def test_what_holds_for_the_default_runtime_holds_for_the_second(tflite_python: Path, tests: str) -> None:
    path = f"tests/integration/{tests}"
    said = on_tflite(tflite_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", path)
    assert " passed" in said


def test_no_hostile_model_kills_a_process_that_uses_the_second_runtime(tflite_python: Path) -> None:
    said = on_tflite(
        tflite_python, "-m", "tests.chaos.models", "--runtime", "tflite", "--runs", str(HOSTILE_RUNS)
    )
    assert said.splitlines()[-1] == f"models: {HOSTILE_RUNS} runs, 0 failures"
