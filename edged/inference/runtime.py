"""The TFLite interpreter behind one small face, whichever package provides it.

The only module that imports TFLite, and only when `choose` or `named` is called. An interpreter is not
thread-safe: the thread that loads it does everything with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.errors import DeviceError, RuntimeFault
from edged.inference import memfd
from edged.inference.selftest import EXPECTED, GIVEN, MODEL

Preference = Literal["auto", "litert", "tflite"]

PACKAGES = {"litert": ("ai-edge-litert", "ai_edge_litert"), "tflite": ("tflite-runtime", "tflite_runtime")}
REMEDY = {
    "litert": "pip install 'ai-edge-litert>=2.3,<3'",
    "tflite": "pip install 'tflite-runtime==2.14.0' 'numpy<2' (Python 3.11 or older)",
}
OVERHEAD_BYTES = 1 << 20
"""Of an interpreter, whatever its model; measured 0.4 to 0.9 MB with models of 50 kB."""

_EXPECTED_LINES = (
    b"INFO: Created TensorFlow Lite XNNPACK delegate",
    b"INFO: Initialized TensorFlow Lite runtime",
)


class TensorSpec(NamedTuple):
    """One input or output tensor as the model declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    """real = scale * (stored - zero_point); 0.0 where the tensor is not quantised per tensor."""
    zero_point: int


class Interpreter:
    """One loaded model, tensors allocated; every method may raise RuntimeFault."""

    def __init__(self, native: Any, memory_bytes: int) -> None:
        self._native: Any = native
        with translated("loading"):
            native.allocate_tensors()
            details = native.get_input_details(), native.get_output_details()
        self.inputs, self.outputs = (tuple(map(_spec, side)) for side in details)
        self._input_ids, self._output_ids = (tuple(int(d["index"]) for d in side) for side in details)
        tensors = native.get_tensor_details()
        self.memory_bytes = memory_bytes + sum(map(_tensor_bytes, tensors)) + OVERHEAD_BYTES
        """Upper estimate: the file, every tensor once more (packed weights, unshared activations), and the rest."""

    def input(self, index: int) -> NDArray[Any]:
        """A writable view into the input tensor, without a copy; drop it before `invoke`."""
        try:
            view: NDArray[Any] = self._native.tensor(self._input_ids[index])()
        except Exception as exc:
            raise _fault("reading an input tensor", exc) from exc
        return view

    def invoke(self) -> None:
        """Run the model once. The GIL is released meanwhile."""
        try:
            self._native.invoke()
        except Exception as exc:
            raise _fault("invoking", exc) from exc

    def output(self, index: int) -> NDArray[Any]:
        """A copy of the output tensor, in its stored type."""
        try:
            copy: NDArray[Any] = self._native.get_tensor(self._output_ids[index])
        except Exception as exc:
            raise _fault("reading an output tensor", exc) from exc
        return copy

    def shape(self, subgraph: int, tensor: int) -> tuple[int, ...]:
        """The shape any tensor has now, which the kernels may have changed; for the pre-flight."""
        with translated("reading a shape"):
            return tuple(int(side) for side in self._native._interpreter.TensorSize(tensor, subgraph))  # noqa: SLF001 - no public call covers every subgraph in both packages

    def reset(self) -> None:
        """Clear variable tensors. Resource variables stay: a model that uses them starts anew only loaded anew."""
        with translated("resetting"):
            self._native.reset_all_variables()

    def close(self) -> None:
        """Free the model; a second call does nothing, any other call afterwards fails."""
        self._native = None


class Runtime:
    """One TFLite package that proved it works here."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.name, module = PACKAGES[key]
        self.version = str(importlib.import_module(module).__version__)
        self._module = importlib.import_module(f"{module}.interpreter")

    def load(self, model: int | Path, threads: int = 1, *, delegates: bool = True) -> Interpreter:
        """Load a model from a descriptor (which may be closed afterwards) or a path nobody else can write.

        Threads are capped at the CPUs this process may use: more of them only spin. Without delegates every
        operator is prepared by its own kernel: slower, and the only way to have its tensors checked. Raises
        RuntimeFault.
        """
        kinds = self._module.OpResolverType
        resolver = kinds.AUTO if delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        path = f"/proc/self/fd/{model}" if isinstance(model, int) else os.fspath(model)
        threads = max(1, min(threads, len(os.sched_getaffinity(0))))
        with translated("loading"):
            size = Path(path).stat().st_size
            native = self._module.Interpreter(
                path, num_threads=threads, experimental_op_resolver_type=resolver
            )
        return Interpreter(native, size)


def choose(preference: Preference = "auto") -> Runtime:
    """The preferred runtime, proven by running a model; DeviceError says what is wrong with each and the remedy.

    An import proves nothing: with NumPy 2, tflite-runtime 2.14 imports and then fails at its first interpreter.
    """
    keys = list(PACKAGES) if preference == "auto" else [preference]
    troubles = []
    for key in keys:
        try:
            return named(key)
        except DeviceError as exc:
            troubles.append(exc.message)
    remedy = " or ".join(REMEDY[key] for key in keys)
    raise DeviceError(f"no TFLite runtime works here ({'; '.join(troubles)}); install one: {remedy}")


def named(key: str) -> Runtime:
    """One runtime, proven; raises DeviceError."""
    package = PACKAGES[key][0]
    with quiet_stderr():
        try:
            runtime = Runtime(key)
            prove(runtime)
        except ImportError as exc:
            if isinstance(exc, ModuleNotFoundError):
                raise DeviceError(f"{package} is not installed") from exc
            raise DeviceError(
                f"{package} does not import with NumPy {np.__version__}: {first_line(exc)}"
            ) from exc
        except (RuntimeFault, SystemError) as exc:
            raise DeviceError(
                f"{package} does not run with NumPy {np.__version__}: {first_line(exc)}"
            ) from exc
    return runtime


def prove(runtime: Runtime) -> None:
    """Run the built-in model and compare; raises RuntimeFault."""
    with contextlib.closing(memfd.seal(MODEL, len(MODEL), "selftest")) as sealed:
        interpreter = runtime.load(sealed.fd)
    interpreter.input(0)[:] = GIVEN
    interpreter.invoke()
    answer = interpreter.output(0)
    interpreter.close()
    if not np.allclose(answer, EXPECTED, atol=1e-6):
        raise RuntimeFault(f"{runtime.name} computes {answer.tolist()} where {EXPECTED} is right")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever TFLite raises (ValueError, RuntimeError, MemoryError, SystemError …) into RuntimeFault."""
    try:
        yield
    except RuntimeFault:
        raise
    except Exception as exc:
        raise _fault(doing, exc) from exc


def _fault(doing: str, exc: Exception) -> RuntimeFault:
    return RuntimeFault(f"{doing}: {first_line(exc)}")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to stderr, and drop the lines a healthy start prints once.

    Everything else is written on when the block ends. Other threads' lines are only delayed.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with os.fdopen(memfd.create("stderr"), "r+b", buffering=0) as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(_EXPECTED_LINES):
                    os.write(2, line)


def first_line(exc: BaseException) -> str:
    """An exception in one line; TFLite's messages begin with what matters."""
    text = str(exc).strip()
    return text.splitlines()[0][:300] if text else type(exc).__name__


def _spec(detail: dict[str, Any]) -> TensorSpec:
    parameters = detail["quantization_parameters"]
    per_tensor = len(parameters["scales"]) == 1 and len(parameters["zero_points"]) == 1
    return TensorSpec(
        name=str(detail["name"]),
        shape=tuple(int(side) for side in detail["shape"]),
        dtype=np.dtype(detail["dtype"]),
        scale=float(parameters["scales"][0]) if per_tensor else 0.0,
        zero_point=int(parameters["zero_points"][0]) if per_tensor else 0,
    )


def _tensor_bytes(detail: dict[str, Any]) -> int:
    return prod(int(side) for side in detail["shape"]) * int(np.dtype(detail["dtype"]).itemsize)
