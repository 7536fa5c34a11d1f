"""A process that treats models as the daemon does: admits them through a library, loads them, invokes them.

It keeps a healthy model loaded all the while and answers with it after every guest, so that damage done
quietly shows as well. The client is `ModelHost`; `python -m tests.rig.modelhost ROOT RUNTIME` is the process.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edged.errors import EdgedError
from edged.inference.models.library import Library
from edged.inference.runtime import Interpreter, Runtime, choose
from edged.inference.trial.preflight import Preflight

INVOKES = 10
ANY_MODEL = """
schema = 1
name = "{name}"
version = "1"
title = "Any tensors"
description = "A model that may have any shape"
licence = "none"
source = "tests"
input.kind = "tensor"
output.kind = "tensors"
[[variants]]
name = "only"
file = "model.tflite"
sha256 = "{sha256}"
"""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one model file."""

    admitted: bool
    said: str
    """Why it was refused, or what the runtime raised after it was admitted; empty where it just ran."""
    healthy: bool
    """Whether the healthy model still answers as it did."""


class Died(NamedTuple):
    """The host did not survive a model."""

    status: int
    stderr: str


def any_model(name: str, content: bytes) -> str:
    """A manifest that fits whatever tensors a model has."""
    return ANY_MODEL.format(name=name, sha256=hashlib.sha256(content).hexdigest())


class ModelHost:
    """The client's end of one host process."""

    def __init__(self, root: Path, healthy: Path, runtime: str = "litert") -> None:
        self._root = root
        command = [sys.executable, "-m", "tests.rig.modelhost", str(root), str(healthy), runtime]
        self._errors = (root / "stderr").open("w+b")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=Path(__file__).parents[2],
        )

    def submit(self, content: bytes) -> Outcome | Died:
        """Offer one model file; the host is gone after a Died."""
        path = self._root / "offered.tflite"
        path.write_bytes(content)
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return self._died()
        line = self._process.stdout.readline()
        return msgspec.json.decode(line, type=Outcome) if line else self._died()

    def close(self) -> int:
        """End the host in good order; its exit status."""
        self._process.communicate(timeout=60)
        self._errors.close()
        return self._process.returncode

    def _died(self) -> Died:
        status = self._process.wait(60)
        self._errors.seek(0)
        return Died(status, self._errors.read().decode(errors="replace")[-2000:])


@contextmanager
def model_host(root: Path, healthy: bytes, runtime: str = "litert") -> Iterator[ModelHost]:
    """A host with its own library, ended with the block."""
    root.mkdir()
    path = root / "healthy.tflite"
    path.write_bytes(healthy)
    host = ModelHost(root, path, runtime)
    try:
        yield host
    finally:
        host.close()


def serve(root: Path, healthy: Path, runtime: Runtime) -> None:
    """Answer one line a model file until the input ends."""
    library = Library(root / "models", Preflight(runtime.key))
    resident = runtime.load(healthy)
    expected = answer(resident)
    for number, line in enumerate(sys.stdin):
        outcome = visit(library, runtime, f"guest{number}", Path(json.loads(line)))
        same = bool(np.array_equal(answer(resident), expected))
        sys.stdout.buffer.write(msgspec.json.encode(Outcome(*outcome, same)) + b"\n")
        sys.stdout.flush()


def visit(library: Library, runtime: Runtime, name: str, path: Path) -> tuple[bool, str]:
    """Admit, activate, load, invoke ten times and remove one model: whether it was admitted, and what was said."""
    try:
        library.add(any_model(name, path.read_bytes()), {"model.tflite": path})
    except EdgedError as exc:
        return False, f"{type(exc).__name__}: {exc.message}"
    library.activate(name, "1")
    try:
        fd = library.open_variant(name, "1", "only")
        interpreter = runtime.load(fd)
        for number in range(INVOKES):
            invoke(interpreter, np.random.default_rng(number))
        interpreter.close()
    except EdgedError as exc:
        return True, f"{type(exc).__name__}: {exc.message}"
    finally:
        library.remove(name)
    return True, ""


def invoke(interpreter: Interpreter, random: np.random.Generator) -> None:
    """One invoke with arbitrary bytes in every input, and every output read."""
    for index, spec in enumerate(interpreter.inputs):
        size = int(np.prod(spec.shape)) * spec.dtype.itemsize
        values: Any = np.frombuffer(random.bytes(size), np.uint8)
        interpreter.input(index)[...] = (
            (values % 2 if spec.dtype.kind == "b" else values).view(spec.dtype).reshape(spec.shape)
        )
    interpreter.invoke()
    for index in range(len(interpreter.outputs)):
        interpreter.output(index)


def answer(interpreter: Interpreter) -> Any:
    """What the healthy model says to a fixed input."""
    interpreter.input(0)[...] = 1
    interpreter.invoke()
    return interpreter.output(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), choose(sys.argv[3]))  # type: ignore[arg-type] # named by the client
