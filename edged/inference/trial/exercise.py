"""What a pre-flight child does with a model whose file is well formed: load, run, measure, load and run again.

Runs in the child only. The second round meets a used heap: what the first damaged unnoticed shows there.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.inference.runtime import Interpreter, Runtime, first_line
from edged.inference.trial.report import Report, Task, TensorInfo, Unfit

Tell = Callable[[str], object]

SEED = 1
"""Of the random inputs: a pre-flight repeats itself."""
KINDS = ("zeros", "ones", "the smallest values", "the largest values", "random values", "zeros again")
REPEATS = 3
REPEAT_BUDGET_S = 2.0
"""Once this much is spent, every kind of input is invoked once only."""
MAX_IO = 64
"""Tensors a side, as a manifest's index allows."""
NAME_CHARS = 200


def run(task: Task, tell: Tell) -> Report:
    """Everything a model goes through before it may serve; raises Unfit, MemoryError."""
    runtime = Runtime(task.runtime)
    before, start = _resident_bytes(), time.perf_counter()
    with refusing():
        tell("loading")
        interpreter = runtime.load(task.model_fd)
        load_ms = (time.perf_counter() - start) * 1e3
        unfinite = _rehearse(interpreter, tell)
        invoke_ms = _exercise(interpreter, tell, KINDS, REPEATS)
        golden_error = None
        if task.golden_fd is not None:
            tell("running the golden vector")
            golden_error = golden(interpreter, task.golden_fd)
        report = Report(
            runtime=f"{runtime.name} {runtime.version}",
            inputs=tuple(_described(s.name, s.shape, s) for s in interpreter.inputs),
            outputs=tuple(
                _described(s.name, interpreter.output(i).shape, s) for i, s in enumerate(interpreter.outputs)
            ),
            load_ms=round(load_ms, 3),
            invoke_ms=round(invoke_ms, 3),
            memory_bytes=max(0, _resident_bytes() - before),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            unfinite=unfinite,
            golden_error=golden_error,
        )
        tell("unloading")
        interpreter.close()
        del interpreter
        tell("loading a second time")
        again = runtime.load(task.model_fd)
        _exercise(again, tell, KINDS, 1)
        tell("unloading")
        again.close()
    return report


def golden(interpreter: Interpreter, fd: int) -> float:
    """The largest difference from the golden outputs, dequantised; raises Unfit when the file does not fit."""
    arrays = _read_npz(fd)
    wanted = [f"in{i}" for i in range(len(interpreter.inputs))] + [
        f"out{i}" for i in range(len(interpreter.outputs))
    ]
    if set(arrays) != set(wanted):
        raise Unfit(
            f"the golden vector holds {', '.join(sorted(arrays))}; the model needs {', '.join(wanted)}"
        )
    interpreter.reset()
    for index, spec in enumerate(interpreter.inputs):
        interpreter.input(index)[...] = _fitting(arrays[f"in{index}"], f"in{index}", spec.shape, spec.dtype)
    interpreter.invoke()
    worst = 0.0
    for index, spec in enumerate(interpreter.outputs):
        answer = interpreter.output(index)
        expected = _fitting(arrays[f"out{index}"], f"out{index}", answer.shape, answer.dtype)
        difference = np.abs(answer.astype(np.float64) - expected.astype(np.float64)) * (spec.scale or 1.0)
        if np.isnan(difference).any():
            raise Unfit(f"output {spec.name!r} holds NaN for the golden input")
        worst = max(worst, float(np.max(difference, initial=0.0)))
    return worst


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Whatever the runtime raises is a reason to refuse the model."""
    try:
        yield
    except (Unfit, MemoryError):
        raise
    except Exception as exc:  # TFLite, NumPy and zipfile raise dozens of kinds
        raise Unfit(first_line(exc)) from exc


def _rehearse(interpreter: Interpreter, tell: Tell) -> tuple[str, ...]:
    """The first invoke, with zeros: the outputs it leaves with NaN or infinity."""
    for side, specs in (("input", interpreter.inputs), ("output", interpreter.outputs)):
        if len(specs) > MAX_IO:
            raise Unfit(f"it has {len(specs)} {side} tensors; the cap is {MAX_IO}")
    _exercise(interpreter, tell, ("zeros",), 1)
    outputs = [interpreter.output(index) for index in range(len(interpreter.outputs))]
    finite = [o.dtype.kind != "f" or bool(np.isfinite(o).all()) for o in outputs]
    return tuple(s.name[:NAME_CHARS] for s, good in zip(interpreter.outputs, finite, strict=True) if not good)


def _exercise(interpreter: Interpreter, tell: Tell, kinds: tuple[str, ...], repeats: int) -> float:
    """Invoke with every kind of input and read every output; the fastest milliseconds."""
    random = np.random.default_rng(SEED)
    fastest, spent = float("inf"), 0.0
    for kind in kinds:
        tell(f"invoking with {kind}")
        for repeat in range(repeats):
            if repeat and spent > REPEAT_BUDGET_S:
                break
            for index, spec in enumerate(interpreter.inputs):
                interpreter.input(index)[...] = filled(kind, spec.dtype, spec.shape, random)
            start = time.perf_counter()
            interpreter.invoke()
            took = time.perf_counter() - start
            fastest, spent = min(fastest, took), spent + took
            for index in range(len(interpreter.outputs)):
                interpreter.output(index)
    tell("resetting")
    interpreter.reset()
    return fastest * 1e3


def filled(
    kind: str, dtype: np.dtype[Any], shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[Any]:
    """Values for one input tensor, broadcastable to it."""
    if dtype.kind not in "biuf":
        raise Unfit(f"an input is of type {dtype.name}, which is not numeric")
    least, most = _range(dtype)
    match kind:
        case "random values" if dtype.kind == "f":
            return random.standard_normal(shape).astype(dtype)
        case "random values":
            return random.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype).reshape(shape) % (
                most or 1
            )
        case "ones":
            return np.ones((), dtype)
        case "the smallest values":
            return np.asarray(least, dtype)
        case "the largest values":
            return np.asarray(most, dtype)
        case _:
            return np.zeros((), dtype)


def _range(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "b":
        return False, True
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return limits.min, limits.max


def _read_npz(fd: int) -> dict[str, NDArray[Any]]:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        try:
            return dict(np.load(file, allow_pickle=False))
        except Exception as exc:  # zipfile, zlib and NumPy raise dozens of kinds
            raise Unfit(f"the golden vector is not a readable .npz: {first_line(exc)}") from exc


def _fitting(array: NDArray[Any], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if array.shape != shape or array.dtype != dtype:
        raise Unfit(
            f"{name} of the golden vector is {array.dtype.name} {list(array.shape)}; "
            f"the tensor is {dtype.name} {list(shape)}"
        )
    return array


def _described(name: str, shape: tuple[int, ...], spec: Any) -> TensorInfo:
    return TensorInfo(name[:NAME_CHARS], tuple(shape), spec.dtype.name, spec.scale, spec.zero_point)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a number from the kernel, not a path
        return int(file.read().split()[1]) * resource.getpagesize()
