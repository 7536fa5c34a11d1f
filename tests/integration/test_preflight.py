"""Pre-flights in real children, with the runtime EDGED_TEST_RUNTIME names."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.errors import BadModel, DeviceError
from edged.inference import memfd
from edged.inference.trial import preflight
from edged.inference.trial.preflight import Preflight
from edged.inference.trial.report import Report, Trial
from tests.rig.hostile import bases, convolution, dense
from tests.rig.manifests import TENSORS, manifest, sha256
from tests.rig.tflite import Builder, Op, options, pack, unpack
from tests.rig.wanted import RUNTIME

Try = Callable[..., Report]


@pytest.fixture
def attempt() -> Iterator[Try]:
    with ExitStack() as held:

        def run(content: bytes, parts: str = TENSORS, golden: bytes | None = None, **how: Any) -> Report:
            def sealed(data: bytes) -> int:
                copy = memfd.seal(data, 1 << 28, "test")
                held.callback(copy.close)
                return copy.fd

            extra = f'golden = {{file = "g.npz", sha256 = "{sha256(golden)}"}}\n' if golden else ""
            declared = manifest(parts, {"only": content}, extra=extra)
            trial = Trial(
                declared,
                declared.variants[0],
                None,
                sealed(content),
                None if golden is None else sealed(golden),
            )
            return Preflight(RUNTIME, **how)(trial)

        yield run


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def endless() -> bytes:
    """A While whose condition stays true."""
    build = Builder()
    x, y = build.tensor("x", (1,)), build.tensor("y", (1,))
    loop = options("While", condSubgraphIndex=1, bodySubgraphIndex=2)
    build.op(Op.WHILE, [x], [y], loop)
    model = build.model([x], [y])
    condition = Builder()
    c, true = condition.tensor("c", (1,)), condition.tensor("true", (1,), "bool")
    condition.op(Op.EQUAL, [c, c], [true], options("Equal"))
    body = Builder()
    b, out = body.tensor("b", (1,)), body.tensor("out", (1,))
    body.op(Op.NEG, [b], [out], options("Neg"))
    for part, inputs, outputs in ((condition, [c], [true]), (body, [b], [out])):
        tree = part.model(inputs, outputs)
        tree.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes)
        model.operatorCodes += tree.operatorCodes
        model.subgraphs.append(tree.subgraphs[0])
    return pack(model)


def crashing() -> bytes:
    """A division by zero inside a kernel: average pooling with a stride of none."""
    build = Builder()
    x, y = build.tensor("x", (1, 4, 4, 1)), build.tensor("y", (1, 4, 4, 1))
    build.op(
        Op.AVERAGE_POOL_2D, [x], [y], options("Pool2D", filterWidth=2, filterHeight=2, strideW=0, strideH=0)
    )
    return build.finish([x], [y])


def greedy(side: int = 6000) -> bytes:
    """Two activations of 144 MB each."""
    build = Builder()
    x, y = build.tensor("x", (1, side, side)), build.tensor("y", (1, side, side))
    build.op(Op.ABS, [x], [y], options("Abs"))
    return build.finish([x], [y])


def test_a_healthy_model_is_reported_with_what_it_costs(attempt: Try) -> None:
    report = attempt(convolution())
    assert [(t.name, t.shape, t.dtype) for t in report.inputs] == [("picture", (1, 16, 16, 3), "float32")]
    assert [(t.name, t.shape) for t in report.outputs] == [("y", (2, 2))]
    assert report.load_ms > 0
    assert report.invoke_ms > 0
    assert report.peak_rss_bytes > report.memory_bytes


@pytest.mark.parametrize("content", bases())
def test_every_healthy_model_passes(attempt: Try, content: bytes) -> None:
    assert attempt(content).unfinite == ()


def test_a_model_that_does_not_fit_its_manifest_is_refused_with_the_difference(attempt: Try) -> None:
    parts = 'input = {kind = "image", width = 16, height = 12}\noutput = {kind = "classification", labels = ["a"]}\n'
    with pytest.raises(
        BadModel, match=r"needs \[1, 12, 16, 3\]; output 'y' has shape \[2, 2\]; 1 label need"
    ):
        attempt(convolution(), parts)


def test_a_lying_structure_is_refused_before_the_runtime_sees_it(attempt: Try) -> None:
    model = unpack(dense())
    model.subgraphs[0].tensors[4].shape = np.array([600, 8], np.int32)
    with pytest.raises(BadModel, match=r"subgraph 0, tensor 4: 192 constant bytes for a shape of 19200"):
        attempt(pack(model))


def test_an_unknown_operator_is_refused_with_the_runtimes_words(attempt: Try) -> None:
    model = unpack(dense())
    model.operatorCodes[0].customCode, model.operatorCodes[0].builtinCode = b"edgetpu-custom-op", Op.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = Op.CUSTOM
    with pytest.raises(BadModel, match=r"edgetpu-custom-op"):
        attempt(pack(model))


def test_a_crash_is_refused_with_the_signal_and_what_was_being_done(attempt: Try, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        preflight,
        "_BOOT",
        preflight._BOOT.replace(
            "main(",
            "import edged.inference.trial.exercise as e, os; e._rehearse = lambda *a: os.abort(); main(",
        ),
    )
    with pytest.raises(BadModel, match=r"only.tflite: killed by SIGABRT while loading"):
        attempt(dense())


def test_a_division_by_zero_in_a_kernel_never_reaches_us(attempt: Try) -> None:
    with pytest.raises(BadModel):
        attempt(crashing())


def test_a_model_that_never_ends_is_refused_for_its_time(attempt: Try) -> None:
    with pytest.raises(BadModel, match=r"took more than 1 s while invoking with zeros"):
        attempt(endless(), timeout_s=1.0)


def test_a_model_over_the_memory_cap_is_refused(attempt: Try) -> None:
    with pytest.raises(BadModel, match=r"only.tflite: "):
        attempt(greedy(), memory_bytes=400 << 20)


def test_nan_for_zeros_is_refused_with_the_outputs_name(attempt: Try) -> None:
    build = Builder()
    x, y = build.tensor("x", (1, 3)), build.tensor("quotient", (1, 3))
    build.op(Op.DIV, [x, x], [y], options("Div"))
    with pytest.raises(BadModel, match=r"output 'quotient' holds NaN or infinity for an input of zeros"):
        attempt(build.finish([x], [y]))


def test_a_golden_vector_that_is_met_passes_and_a_missed_one_is_refused_with_the_distance(
    attempt: Try,
) -> None:
    build = Builder()
    x, y = build.tensor("x", (1, 2)), build.tensor("y", (1, 2))
    build.fully_connected(x, np.eye(2), [1, 1], y)
    content = build.finish([x], [y])
    given = np.array([[2, 3]], np.float32)
    assert attempt(content, golden=npz(in0=given, out0=given + 1)).golden_error == pytest.approx(0)
    with pytest.raises(BadModel, match=r"misses its golden vector by 0.5; the tolerance is 0.001"):
        attempt(content, golden=npz(in0=given, out0=given + 1.5))
    with pytest.raises(BadModel, match=r"holds in0; the model needs in0, out0"):
        attempt(content, golden=npz(in0=given))
    with pytest.raises(BadModel, match=r"in0 of the golden vector is float32 \[2\]"):
        attempt(content, golden=npz(in0=given[0], out0=given))
    with pytest.raises(BadModel, match=r"not a readable .npz"):
        attempt(content, golden=b"PK junk")


def test_a_pickle_in_a_golden_vector_is_not_run(attempt: Try, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    with pytest.raises(BadModel, match=r"not a readable .npz"):
        attempt(dense(), golden=npz(in0=np.array([Payload()], object)))
    assert not (tmp_path / "ran").exists()


def test_the_child_sees_no_descriptor_environment_or_secret_of_ours(attempt: Try, monkeypatch: Any) -> None:
    secret = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(secret, True)
    monkeypatch.setenv("EDGED_SECRET", "x")
    spy = "import os; os.write(2, ' '.join([*os.listdir('/proc/self/fd'), *os.environ]).encode()); os._exit(3); main("
    monkeypatch.setattr(preflight, "_BOOT", preflight._BOOT.replace("main(", spy))
    with pytest.raises(DeviceError) as refused:
        attempt(dense())
    os.close(secret)
    words = refused.value.message.split("here: ")[1].split()
    # stdin, stdout, stderr, the model, the report, and the directory being listed
    assert sum(word.isdigit() for word in words) == 6
    assert str(secret) not in words
    assert "EDGED_SECRET" not in words


def test_without_a_runtime_the_device_is_to_blame_and_not_the_model(attempt: Try, monkeypatch: Any) -> None:
    monkeypatch.setattr(preflight, "_search_path", lambda: "/nowhere")
    with pytest.raises(DeviceError, match=r"no pre-flight can run here: .*No module named"):
        attempt(dense())


def test_no_child_and_no_descriptor_is_left_behind(attempt: Try) -> None:
    attempt(dense())
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BadModel):
        attempt(endless(), timeout_s=0.5)
    attempt(dense())
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 2  # the two models that the test holds
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_preflight_runs_where_memory_may_not_be_made_executable_and_no_privilege_gained(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(dense())
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
mdwe = libc.prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, Linux 6.3
from pathlib import Path
from edged.inference import memfd
from edged.inference.trial.preflight import Preflight
from edged.inference.trial.report import Trial
from tests.rig.manifests import TENSORS, manifest
content = Path({str(path)!r}).read_bytes()
declared = manifest(TENSORS, {{"only": content}})
sealed = memfd.seal(content, 1 << 20, "model")
print(mdwe, Preflight({RUNTIME!r})(Trial(declared, declared.variants[0], None, sealed.fd, None)).runtime)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2." in done.stdout
