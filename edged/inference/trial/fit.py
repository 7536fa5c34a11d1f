"""Whether a model's tensors are what its manifest says, and if not, what differs.

Pure. The pre-flight asks with the shapes a run really had; whoever loads a model may ask again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from edged.inference.manifest import (
    Anomaly,
    AudioInput,
    Classification,
    Detection,
    ImageInput,
    Keyword,
    Manifest,
    Ssd,
    TensorInput,
    Tensors,
    VectorInput,
)
from edged.inference.trial.report import TensorInfo

PLAIN = ("float32", "int8", "uint8")
"""What preprocessing writes and decoders read."""
NUMERIC = (*PLAIN, "float16", "float64", "int16", "int32", "int64", "uint16", "uint32", "uint64", "bool")


def differences(
    manifest: Manifest, label_count: int | None, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> list[str]:
    """Every way in which the tensors do not fit; empty where they do.

    `label_count` is the number of labels of an output that keeps them in a file; else it is not looked at.
    """
    declared = getattr(manifest.output, "labels", None)
    labels = len(declared) if isinstance(declared, list) else label_count or 0
    return [*_inputs(manifest, inputs), *_outputs(manifest, labels, inputs, outputs)]


def anchor_count(strides: Sequence[int], height: int, width: int) -> int:
    """SSD anchors of a picture: two a cell and layer, a cell being `stride` pixels a side."""
    return sum(2 * -(-height // stride) * -(-width // stride) for stride in strides)


def _inputs(manifest: Manifest, inputs: Sequence[TensorInfo]) -> Iterator[str]:
    declared = manifest.input
    if isinstance(declared, TensorInput):
        yield from _numeric("input", inputs)
        return
    if len(inputs) != 1:
        yield f"the model has {_count(len(inputs), 'input')}; input.kind {_tag(declared)} fills exactly one"
        return
    if declared.tensor != 0:
        yield f"input.tensor is {declared.tensor}, and the model has 1 input"
    wanted: tuple[int, ...]
    match declared:
        case ImageInput():
            channels = 1 if declared.colour == "gray" else 3
            wanted = (1, declared.height, declared.width, channels)
            meaning = f"a {declared.colour} picture of {declared.width} x {declared.height}"
        case AudioInput():
            wanted = (1, declared.frames, declared.features)
            meaning = f"{declared.frames} frames of {declared.features} features"
        case VectorInput():
            wanted = (1, len(declared.names))
            meaning = f"{_count(len(declared.names), 'named number')}"
    if inputs[0].shape not in (wanted, *_also(wanted)):
        yield f"input {inputs[0].name!r} has shape {_spell(inputs[0].shape)}; {meaning} needs {_spell(wanted)}"
    yield from _plain("input", inputs[0])


def _outputs(
    manifest: Manifest, labels: int, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> Iterator[str]:
    declared = manifest.output
    if isinstance(declared, Tensors):
        yield from _numeric("output", outputs)
        return
    fields = ("tensor", "boxes", "classes", "scores", "count")
    indices = {field: getattr(declared, field, None) for field in fields}
    used = {field: index for field, index in indices.items() if index is not None}
    beyond = [
        f"output.{f} is {i}; the model has {_count(len(outputs), 'output')}"
        for f, i in used.items()
        if i >= len(outputs)
    ]
    if beyond:
        yield from beyond
        return
    tensors = {field: outputs[index] for field, index in used.items()}
    for tensor in tensors.values():
        yield from _plain("output", tensor)
    match declared:
        case Classification() | Keyword():
            yield from _scores(tensors["tensor"], labels)
        case Anomaly():
            yield from _reconstruction(tensors["tensor"], inputs)
        case Ssd():
            yield from _anchored(declared, manifest.input, tensors, labels)
        case Detection():
            yield from _detections(tensors)


def _scores(tensor: TensorInfo, labels: int) -> Iterator[str]:
    if prod(tensor.shape) != labels or (labels != 1 and tensor.shape[-1] != labels):
        yield _misshapen(tensor, f"{_count(labels, 'label')} need {_spell((1, labels))}")


def _reconstruction(tensor: TensorInfo, inputs: Sequence[TensorInfo]) -> Iterator[str]:
    size = sum(prod(t.shape) for t in inputs)
    if prod(tensor.shape) != size:
        yield _misshapen(tensor, f"a reconstruction has {size} values, as the input")


def _anchored(declared: Ssd, picture: object, tensors: dict[str, TensorInfo], labels: int) -> Iterator[str]:
    assert isinstance(picture, ImageInput)  # the manifest admits nothing else  # noqa: S101 - for the type checker
    anchors = anchor_count(declared.strides, picture.height, picture.width)
    where = f"strides {declared.strides} on {picture.width} x {picture.height} make {anchors} anchors"
    for field, width in (("boxes", 4 + 2 * len(declared.keypoints)), ("scores", labels)):
        tensor, wanted = tensors[field], (1, anchors, width)
        if tensor.shape != wanted:
            yield _misshapen(tensor, f"{where}, so {field} need {_spell(wanted)}")


def _detections(tensors: dict[str, TensorInfo]) -> Iterator[str]:
    boxes = tensors["boxes"]
    if len(boxes.shape) != 3 or boxes.shape[0] != 1 or boxes.shape[2] != 4:
        yield _misshapen(boxes, "boxes need [1, any, 4]")
        return
    wanted = {"classes": (1, boxes.shape[1]), "scores": (1, boxes.shape[1]), "count": (1,)}
    for field, shape in wanted.items():
        if field in tensors and tensors[field].shape != shape:
            yield _misshapen(tensors[field], f"{field} need {_spell(shape)}")


def _plain(side: str, tensor: TensorInfo) -> Iterator[str]:
    if tensor.dtype not in PLAIN:
        yield f"{side} {tensor.name!r} is of type {tensor.dtype}; it may be {', '.join(PLAIN)}"
    elif tensor.dtype != "float32" and tensor.scale <= 0:
        yield f"{side} {tensor.name!r} is {tensor.dtype} without a scale and zero point for the whole tensor"


def _numeric(side: str, tensors: Sequence[TensorInfo]) -> Iterator[str]:
    if not tensors:
        yield f"the model has no {side}"
    for tensor in tensors:
        if tensor.dtype not in NUMERIC:
            yield f"{side} {tensor.name!r} is of type {tensor.dtype}, which is not numeric"


def _misshapen(tensor: TensorInfo, wanted: str) -> str:
    return f"output {tensor.name!r} has shape {_spell(tensor.shape)}; {wanted}"


def _also(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The same with or without a last side of 1: a gray picture, features as channels."""
    return [shape[:-1]] if shape[-1] == 1 else [(*shape, 1)]


def _tag(part: object) -> object:
    return type(part).__struct_config__.tag  # type: ignore[attr-defined] # a tagged Struct


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _spell(shape: tuple[int, ...]) -> str:
    return str(list(shape))
