"""One set of inputs, one invoke, one decoder: pictures, named numbers, and the caller's own tensors."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadArgument
from edged.inference.inputs.picture import ImageDecoder, Seen
from edged.inference.kernels.seam import NotFinite, Target
from edged.inference.manifest import ImageInput, VectorInput
from edged.inference.outputs.decoders import decoder
from edged.inference.outputs.detectors import Asked, Scene
from edged.inference.outputs.tensors import flat, floats, numbers, real, stored
from edged.inference.pipelines.pipeline import Outcome, Parts, Pipeline
from edged.inference.request import Encoded, GivenTensors, Numbers, Raw, Request
from edged.inference.runtime import TensorSpec
from edged.inference.values import Finding, Labels, Objects


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


def target(given: ImageInput, spec: TensorSpec) -> Target:
    """How a picture is written into this tensor; made once a model."""
    return Target(
        given.height, given.width, given.colour, given.fit, given.pad,
        tuple(given.mean), tuple(given.std), spec.dtype, spec.scale, spec.zero_point,
    )  # fmt: skip


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
