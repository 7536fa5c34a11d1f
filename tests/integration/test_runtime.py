"""The interpreter's face against the real packages; EDGED_TEST_RUNTIME names the one this environment has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edged.errors import RuntimeFault
from edged.inference import memfd
from edged.inference.runtime import Interpreter, Runtime, choose
from tests.rig.hostile import WAKE_WORDS, bases, dense, quantised
from tests.rig.wanted import RUNTIME


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return choose(RUNTIME)


def loaded(runtime: Runtime, content: bytes) -> Interpreter:
    sealed = memfd.seal(content, len(content), "model")
    try:
        return runtime.load(sealed.fd)
    finally:
        sealed.close()


def test_a_runtime_proves_itself_and_names_its_version(runtime: Runtime) -> None:
    assert runtime.key == RUNTIME
    assert runtime.version[0].isdigit()


def test_a_missing_runtime_is_named_with_its_remedy() -> None:
    code = f"""
import sys
sys.modules["tflite_runtime.interpreter"] = sys.modules["ai_edge_litert.interpreter"] = None
from edged.errors import DeviceError
from edged.inference.runtime import choose
try:
    choose({RUNTIME!r})
except DeviceError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no TFLite runtime works here (")
    assert "is not installed); install one: pip install '" in done.stdout


def test_choosing_keeps_the_journal_clean() -> None:
    code = f"from edged.inference.runtime import choose; choose({RUNTIME!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""


def test_native_complaints_still_reach_stderr() -> None:
    code = (
        "import os; from edged.inference.runtime import quiet_stderr\n"
        "with quiet_stderr(): os.write(2, b'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\nERROR: real\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"ERROR: real\n"


def test_tensors_are_described_with_their_quantisation(runtime: Runtime) -> None:
    interpreter = loaded(runtime, quantised())
    (given,), (answered,) = interpreter.inputs, interpreter.outputs
    assert (given.shape, given.dtype.name, given.zero_point) == ((1, 12, 12, 2), "int8", -3)
    assert given.scale == pytest.approx(0.02)
    assert answered.shape == (1, 3)
    assert answered.scale == pytest.approx(0.1)
    assert interpreter.memory_bytes > len(quantised())


def test_an_input_is_a_view_into_the_tensor_and_an_output_a_copy(runtime: Runtime) -> None:
    interpreter = loaded(runtime, dense())
    interpreter.input(0)[...] = 1
    interpreter.invoke()
    first = interpreter.output(0)
    interpreter.input(0)[...] = -1
    interpreter.invoke()
    assert not np.allclose(first, interpreter.output(0))
    assert first.sum() == pytest.approx(1)


def test_a_view_held_over_an_invoke_is_a_named_fault(runtime: Runtime) -> None:
    interpreter = loaded(runtime, dense())
    view = interpreter.input(0)
    with pytest.raises(RuntimeFault, match=r"invoking: "):
        interpreter.invoke()
    assert view.shape == (1, 8)


def test_a_reset_makes_a_streaming_model_repeat_itself(runtime: Runtime) -> None:
    interpreter = loaded(runtime, bases()[3 + WAKE_WORDS.index("okay_nabu")])
    frames = np.random.default_rng(1).integers(-128, 127, (30, 1, 3, 40), np.int8)

    def run() -> list[int]:
        answers = []
        for frame in frames:
            interpreter.input(0)[...] = frame
            interpreter.invoke()
            answers.append(int(interpreter.output(0)[0, 0]))
        return answers

    first = run()
    interpreter.reset()
    assert run() == first


def test_a_file_that_is_no_model_is_a_named_fault(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"x" * 64)
    with pytest.raises(RuntimeFault, match=r"loading: "):
        runtime.load(tmp_path / "x.tflite")


def test_a_closed_interpreter_faults_instead_of_crashing(runtime: Runtime) -> None:
    interpreter = loaded(runtime, dense())
    interpreter.close()
    interpreter.close()
    with pytest.raises(RuntimeFault):
        interpreter.invoke()
