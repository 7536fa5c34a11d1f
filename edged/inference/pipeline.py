"""One loaded model: what is given becomes a finding, timed per stage. It belongs to one thread."""

from __future__ import annotations

import abc
import os
from collections.abc import Hashable, Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadArgument, BadModel
from edged.inference.config import InferenceConfig
from edged.inference.inputs import sound
from edged.inference.inputs.picture import ImageDecoder, Seen
from edged.inference.kernels.seam import Kernels, NotFinite, Target
from edged.inference.manifest import AudioInput, ImageInput, Keyword, Manifest, TensorInput, VectorInput
from edged.inference.outputs.decoders import decoder
from edged.inference.outputs.detectors import Asked, Scene
from edged.inference.outputs.listening import Listener
from edged.inference.outputs.tensors import flat, floats, numbers, real, stored
from edged.inference.request import Encoded, GivenTensors, Numbers, Pcm, Raw, Request
from edged.inference.runtime import Interpreter, TensorSpec
from edged.inference.streams import Key
from edged.inference.trial.fit import differences
from edged.inference.trial.report import TensorInfo
from edged.inference.values import Finding, Labels, Objects


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


class _Simple(Pipeline):
    """One set of inputs, one invoke, one decoder."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        names = [spec.name for spec in self._interpreter.outputs]
        self._decoder = decoder(parts.manifest, parts.labels, names, parts.kernels)
        self._specs = [self._interpreter.outputs[index] for index in self._decoder.tensors]
        self.warm_up()

    def warm_up(self) -> None:
        """The first invoke allocates and packs; pay for it while loading."""
        self._interpreter.invoke()

    def _read(self, scene: Scene, request: Request) -> Finding:
        tensors, read, looks = self._decoder
        raw = [
            (self._interpreter.output(index), spec) for index, spec in zip(tensors, self._specs, strict=True)
        ]
        asked = Asked(request.top_k, request.threshold)
        if looks:
            try:
                return read([floats(*each, self._kernels) for each in raw], scene, asked)
            except NotFinite:
                pass  # which one: said below
        return read([real(*each, self._manifest.name, self._kernels) for each in raw], scene, asked)

    def _fill(self, index: int, values: NDArray[np.float32]) -> None:
        view = self._interpreter.input(index)
        view[...] = stored(values, self._interpreter.inputs[index]).reshape(view.shape)


class ImagePipeline(_Simple):
    """A picture into a tensor; findings in pixels of the picture as it is seen."""

    def __init__(self, parts: Parts, given: ImageInput) -> None:
        super().__init__(parts)
        self._given = given
        self._target = target(given, self._interpreter.inputs[given.tensor])
        self._images = ImageDecoder(parts.config)
        drawable = {"annotate"} if parts.manifest.output.__struct_config__.tag != "tensors" else set()
        chosen = {"top_k", "threshold"} if drawable else set()
        self.options = frozenset(drawable | chosen)

    def _run(self, request: Request) -> Outcome:
        started = perf_counter()
        seen = self._see(request)
        decoded = perf_counter()
        view = self._interpreter.input(self._given.tensor)
        placement = self._kernels.fit(seen.picture, self._target, view[0])
        del view
        placed = perf_counter()
        self._interpreter.invoke()
        invoked = perf_counter()
        finding = self._read(Scene(seen.placed(placement), seen.width, seen.height), request)
        drawn = self._draw(seen, finding) if request.annotate else None
        return _timed(finding, (started, decoded, placed, invoked), drawn)

    def _see(self, request: Request) -> Seen:
        match request.given:
            case Encoded(data=data):
                return self._images.encoded(data, None if request.annotate else self._given)
            case Raw():
                return self._images.raw(request.given)
        raise self._misfit(request)

    def _draw(self, seen: Seen, finding: Finding) -> bytes | None:
        from edged.inference.outputs import annotate  # noqa: PLC0415 - Pillow costs 9 MB that few calls need

        if not isinstance(finding, Labels | Objects):
            return None
        return annotate.draw(annotate.rgb(seen.picture, self._kernels), finding)


class VectorPipeline(_Simple):
    """Named numbers into a tensor."""

    def __init__(self, parts: Parts, given: VectorInput) -> None:
        super().__init__(parts)
        self._given = given
        self._mean, self._std = np.array(given.mean), np.array(given.std)
        self.options = frozenset(
            {"top_k", "threshold"} if parts.manifest.output.__struct_config__.tag != "tensors" else ()
        )

    def _run(self, request: Request) -> Outcome:
        if not isinstance(request.given, Numbers):
            raise self._misfit(request)
        started = perf_counter()
        values = numbers(request.given.values, self._given.names)
        decoded = perf_counter()
        normal = ((values - self._mean) / self._std).astype(np.float32)
        self._fill(self._given.tensor, normal)
        placed = perf_counter()
        self._interpreter.invoke()
        invoked = perf_counter()
        finding = self._read(Scene(given=normal), request)
        return _timed(finding, (started, decoded, placed, invoked))


class TensorPipeline(_Simple):
    """The caller's own tensors, in and out."""

    def _run(self, request: Request) -> Outcome:
        if not isinstance(request.given, GivenTensors):
            raise self._misfit(request)
        specs = self._interpreter.inputs
        given = request.given.tensors
        started = perf_counter()
        if len(given) != len(specs):
            raise BadArgument(f"$.tensors: expected {len(specs)} tensors, got {len(given)}")
        arrays = [
            flat(values, int(np.prod(spec.shape)), f"$.tensors[{index}]")
            for index, (values, spec) in enumerate(zip(given, specs, strict=True))
        ]
        decoded = perf_counter()
        for index, array in enumerate(arrays):
            self._fill(index, array.astype(np.float32))
        placed = perf_counter()
        self._interpreter.invoke()
        invoked = perf_counter()
        return _timed(self._read(Scene(), request), (started, decoded, placed, invoked))


class AudioPipeline(Pipeline):
    """Recordings, whole or in pieces, to what was heard in them."""

    options = frozenset({"threshold", "stream"})

    def __init__(self, parts: Parts, given: AudioInput, output: Keyword) -> None:
        super().__init__(parts)
        self._given, self._output = given, output
        self._spec = self._interpreter.outputs[output.tensor]
        self._interpreter.invoke()  # shows that it runs
        self._streams: dict[Hashable, Listener] = {}

    def _run(self, request: Request) -> Outcome:
        started = perf_counter()
        mono = self._decode(request)
        decoded = perf_counter()
        listener = self._whole() if request.stream is None else self._stream(request)
        heard, times = listener.hear(mono, request.threshold, last=request.stream is None)
        return Outcome(heard, (decoded - started) * 1e3, times.preprocess_s * 1e3, times.invoke_s * 1e3, 0.0)

    def close_stream(self, key: Hashable) -> None:
        """Free a stream's interpreter."""
        listener = self._streams.pop(key, None)
        if listener is not None:
            listener.interpreter.close()

    def close(self) -> None:
        """Free every interpreter."""
        for key in list(self._streams):
            self.close_stream(key)
        super().close()

    def _decode(self, request: Request) -> sound.Mono:
        config = self._parts.config
        match request.given:
            case Encoded(data=data):
                return sound.read_wav(data, config.sound_max_bytes, config.sound_max_s)
            case Pcm(data=data, rate_hz=rate_hz):
                return sound.read_pcm(data, rate_hz, config.sound_max_bytes, config.sound_max_s)
        raise self._misfit(request)

    def _whole(self) -> Listener:
        """Ears that never heard anything: TFLite cannot reset resource variables, and loading takes 1 ms."""
        self._interpreter.close()
        self._interpreter = self._parts.open_interpreter()
        return self._listener(self._interpreter)

    def _stream(self, request: Request) -> Listener:
        key = Key(request.peer, request.model, str(request.stream))
        listener = self._streams.get(key)
        if listener is None:
            self._streams[key] = listener = self._listener(self._parts.open_interpreter())
        return listener

    def _listener(self, interpreter: Interpreter) -> Listener:
        return Listener(interpreter, self._given, self._output, self._kernels, self._scores)

    def _scores(self, interpreter: Interpreter) -> NDArray[np.float32]:
        raw = interpreter.output(self._output.tensor)
        return real(raw, self._spec, self._manifest.name, self._kernels).reshape(-1)


def load(parts: Parts) -> Pipeline:
    """The pipeline for a manifest's kind of input."""
    match parts.manifest.input, parts.manifest.output:
        case ImageInput() as given, _:
            return ImagePipeline(parts, given)
        case AudioInput() as given, Keyword() as output:
            return AudioPipeline(parts, given, output)
        case VectorInput() as given, _:
            return VectorPipeline(parts, given)
        case TensorInput(), _:
            return TensorPipeline(parts)
    raise BadModel(f"{parts.manifest.name}: no pipeline for its kinds of input and output")


def check_tensors(parts: Parts, interpreter: Interpreter) -> None:
    """Raise BadModel with every way in which the model's tensors are not what its manifest says."""
    inputs, outputs = ([_info(spec) for spec in side] for side in (interpreter.inputs, interpreter.outputs))
    if found := differences(parts.manifest, len(parts.labels) or None, inputs, outputs):
        interpreter.close()
        raise BadModel(f"{parts.manifest.name} {parts.manifest.version}: {'; '.join(found)}")


def target(given: ImageInput, spec: TensorSpec) -> Target:
    """How a picture is written into this tensor; made once a model."""
    return Target(
        given.height, given.width, given.colour, given.fit, given.pad,
        tuple(given.mean), tuple(given.std), spec.dtype, spec.scale, spec.zero_point,
    )  # fmt: skip


def _info(spec: TensorSpec) -> TensorInfo:
    return TensorInfo(spec.name, spec.shape, spec.dtype.name, spec.scale, spec.zero_point)


def _timed(
    finding: Finding, ends_s: tuple[float, float, float, float], drawn: bytes | None = None
) -> Outcome:
    """The outcome of a run that ends now; `ends_s` are its start and the ends of decoding, placing, invoking."""
    started, decoded, placed, invoked = ends_s
    return Outcome(
        finding,
        decode_ms=(decoded - started) * 1e3,
        preprocess_ms=(placed - decoded) * 1e3,
        invoke_ms=(invoked - placed) * 1e3,
        postprocess_ms=(perf_counter() - invoked) * 1e3,
        annotated_png=drawn,
    )
