"""One loaded model: what is given becomes a finding, timed per stage."""

from __future__ import annotations

import abc
import os
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

from edged.errors import BadArgument, BadModel
from edged.inference.config import InferenceConfig
from edged.inference.kernels.seam import Kernels
from edged.inference.manifest import Manifest
from edged.inference.request import Request
from edged.inference.runtime import Interpreter, TensorSpec
from edged.inference.trial.fit import differences
from edged.inference.trial.report import TensorInfo
from edged.inference.values import Finding


class Outcome(NamedTuple):
    """What one run gave, and the milliseconds of its stages."""

    finding: Finding
    decode_ms: float
    preprocess_ms: float
    invoke_ms: float
    postprocess_ms: float
    annotated_png: bytes | None = None


class Loader(Protocol):
    """What a pipeline asks of the runtime."""

    def load(self, model: int, threads: int = 1) -> Interpreter:
        """An interpreter for the calling thread."""


class Parts(NamedTuple):
    """What every pipeline is made of."""

    manifest: Manifest
    labels: Sequence[str]
    model_fd: int
    """A sealed memory file; the pipeline closes it."""
    runtime: Loader
    kernels: Kernels
    config: InferenceConfig

    def open_interpreter(self) -> Interpreter:
        """One more interpreter of this model, in its initial state."""
        return self.runtime.load(self.model_fd, self.config.threads)


class Pipeline(abc.ABC):
    """A model ready to run; its constructor loads it, and raises BadModel where its manifest does not fit."""

    options: frozenset[str] = frozenset()
    """Which of a request's options mean something here."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._manifest, self._kernels = parts.manifest, parts.kernels
        self._interpreter = parts.open_interpreter()
        check_tensors(parts, self._interpreter)
        self.interpreter_bytes = self._interpreter.memory_bytes
        """Memory of one interpreter; a stream takes as much again."""

    def run(self, request: Request) -> Outcome:
        """Answer one request. Raises Rejected for a bad input, DeviceError where the model fails."""
        for name in ("top_k", "threshold", "stream"):
            if getattr(request, name) is not None and name not in self.options:
                raise BadArgument(f"$.{name}: means nothing to {self._manifest.name}")
        if request.annotate and "annotate" not in self.options:
            raise BadArgument(f"$.annotate: {self._manifest.name} finds nothing that can be drawn")
        return self._run(request)

    @abc.abstractmethod
    def _run(self, request: Request) -> Outcome: ...

    def close_stream(self, key: Hashable) -> None:  # noqa: B027 - most have no streams
        """Close a stream; nothing happens where there is none."""

    def close(self) -> None:
        """Free the interpreter and the file."""
        self._interpreter.close()
        os.close(self._parts.model_fd)

    def _misfit(self, request: Request) -> BadArgument:
        kind = self._manifest.input.__struct_config__.tag
        return BadArgument(
            f"$: {self._manifest.name} takes {kind} input, not {type(request.given).__name__.lower()}"
        )


def check_tensors(parts: Parts, interpreter: Interpreter) -> None:
    """Raise BadModel with every way in which the model's tensors are not what its manifest says."""
    inputs, outputs = ([_info(spec) for spec in side] for side in (interpreter.inputs, interpreter.outputs))
    if found := differences(parts.manifest, len(parts.labels) or None, inputs, outputs):
        interpreter.close()
        raise BadModel(f"{parts.manifest.name} {parts.manifest.version}: {'; '.join(found)}")


def _info(spec: TensorSpec) -> TensorInfo:
    return TensorInfo(spec.name, spec.shape, spec.dtype.name, spec.scale, spec.zero_point)
