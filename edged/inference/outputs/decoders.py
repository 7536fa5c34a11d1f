"""Output tensors to a finding, and a finding to words. Pure: float32 tensors in, values out.

Scores are given to four decimals and pixels to one hundredth: more is noise, and a reply is read by people
and models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.inference.manifest import (
    Anomaly,
    Classification,
    Detection,
    ImageInput,
    Manifest,
    Ssd,
    Tensors,
    VectorInput,
)
from edged.inference.outputs.detectors import Anchored, Asked, Detected, Scene
from edged.inference.values import (
    Box,
    Deviation,
    Finding,
    Heard,
    Labels,
    Object,
    Objects,
    Score,
    Tensor,
    TensorList,
)

if TYPE_CHECKING:
    from edged.inference.kernels.seam import Kernels

SHOWN = 5
"""Objects or labels spelt out; the rest are counted."""
CONTRIBUTIONS = 8
"""Inputs named beside a deviation where the caller does not say."""


Read = Callable[[Sequence[NDArray[np.float32]], Scene, Asked], Finding]


class Decoder(NamedTuple):
    """How one model's output is read: which tensors, in which order, and by what."""

    tensors: tuple[int, ...]
    read: Read
    """Takes the tensors as float32, all finite."""
    looks: bool = False
    """Whether `read` raises NotFinite itself where they are not."""


def decoder(manifest: Manifest, labels: Sequence[str], names: Sequence[str], kernels: Kernels) -> Decoder:
    """The decoder a manifest asks for; `names` are all output tensors'. Keywords have their own (`Track`)."""
    output, given = manifest.output, manifest.input
    match output:
        case Classification():
            return Decoder((output.tensor,), _Classes(output, labels, kernels))
        case Ssd() if isinstance(given, ImageInput):
            return Decoder(
                (output.boxes, output.scores), Anchored(output, given, labels, kernels), looks=True
            )
        case Detection() if isinstance(given, ImageInput):
            count = () if output.count is None else (output.count,)
            return Decoder(
                (output.boxes, output.classes, output.scores, *count), Detected(output, given, labels)
            )
        case Anomaly() if isinstance(given, VectorInput):
            return Decoder((output.tensor,), _Reconstructed(output, given))
        case Tensors():
            return Decoder(tuple(range(len(names))), _Bare(names))
    raise TypeError(f"{type(output).__name__} is not read from {type(given).__name__}")


class _Classes:
    def __init__(self, output: Classification, labels: Sequence[str], kernels: Kernels) -> None:
        self._labels = labels
        self._top_k, self._threshold = output.top_k, output.threshold
        self._activate = {"none": None, "softmax": kernels.softmax, "sigmoid": kernels.sigmoid}[
            output.activation
        ]
        self._kernels = kernels

    def __call__(self, outputs: Sequence[NDArray[np.float32]], _scene: Scene, asked: Asked) -> Labels:
        scores = outputs[0].reshape(-1)
        if self._activate is not None:
            scores = self._activate(scores)
        best = self._kernels.top_k(scores, min(asked.top_k or self._top_k, scores.size))
        least = self._threshold if asked.threshold is None else asked.threshold
        found = zip(best.tolist(), scores[best].tolist(), strict=True)
        return Labels([Score(self._labels[i], round(s, 4)) for i, s in found if s >= least])


class _Reconstructed:
    def __init__(self, output: Anomaly, given: VectorInput) -> None:
        self._threshold = output.threshold
        self._names = given.names

    def __call__(self, outputs: Sequence[NDArray[np.float32]], scene: Scene, asked: Asked) -> Deviation:
        squares = np.square(outputs[0].reshape(-1).astype(np.float64) - scene.given)
        score, total = float(squares.mean()), float(squares.sum())
        least = self._threshold if asked.threshold is None else asked.threshold
        largest = np.argsort(-squares, kind="stable")[: asked.top_k or CONTRIBUTIONS]
        shares = (
            [Score(self._names[i], round(float(squares[i] / total), 4)) for i in largest.tolist()]
            if total
            else []
        )
        return Deviation(score, least, score >= least, shares)


class _Bare:
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __call__(self, outputs: Sequence[NDArray[np.float32]], _scene: Scene, _asked: Asked) -> TensorList:
        named = zip(self._names, outputs, strict=True)
        return TensorList([Tensor(name, list(t.shape), t.reshape(-1).tolist()) for name, t in named])


def describe(finding: Finding) -> str:
    """What was found, without markup: `1 face: 0.92 at [180, 82, 274, 176]`."""
    match finding:
        case Labels(labels=labels):
            return (
                ", ".join(f"{s.label} {s.score:.2f}" for s in labels[:SHOWN])
                or "no label reaches the threshold"
            )
        case Objects(objects=objects):
            return _objects(objects)
        case Heard():
            return _heard(finding)
        case Deviation():
            return _deviation(finding)
        case TensorList(tensors=tensors):
            return "; ".join(f"{t.name} {t.shape}" for t in tensors)


def _objects(objects: list[Object]) -> str:
    if not objects:
        return "nothing found"
    if len(objects) == 1:
        only = objects[0]
        return f"1 {only.label}: {only.score:.2f} at {_place(only.box)}"
    shown = ", ".join(f"{o.label} {o.score:.2f} at {_place(o.box)}" for o in objects[:SHOWN])
    more = f" and {len(objects) - SHOWN} more" if len(objects) > SHOWN else ""
    return f"{len(objects)} found: {shown}{more}"


def _place(box: Box) -> str:
    return f"[{box.x0:.0f}, {box.y0:.0f}, {box.x1:.0f}, {box.y1:.0f}]"


def _heard(finding: Heard) -> str:
    if finding.heard:
        return "heard " + ", ".join(
            f"{h.label} {h.score:.2f} at {h.at_s:.1f} s" for h in finding.heard[:SHOWN]
        )
    most = ", ".join(f"{s.label} at most {s.score:.2f}" for s in finding.scores[:SHOWN])
    return f"heard nothing in {finding.seconds:.1f} s ({most})"


def _deviation(finding: Deviation) -> str:
    verdict = "anomalous" if finding.anomalous else "normal"
    carried = ", ".join(f"{s.label} {s.score:.0%}" for s in finding.contributions[:3])
    because = f"; mostly {carried}" if finding.anomalous and carried else ""
    return f"{verdict}: {finding.score:.4g}, threshold {finding.threshold:.4g}{because}"
