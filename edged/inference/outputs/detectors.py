"""Output tensors of models that find things, to boxes in pixels of the picture as it is seen. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.inference.manifest import Detection, ImageInput, Ssd
from edged.inference.values import Box, Object, Objects, Placement, Point

if TYPE_CHECKING:
    from edged.inference.kernels.seam import Kernels


class Scene(NamedTuple):
    """What an output is read against: where the picture landed and its full size, or the given numbers."""

    placement: Placement = Placement(1.0, 1.0, 0.0, 0.0)
    width: int = 0
    height: int = 0
    given: NDArray[np.float32] = np.zeros(0, np.float32)


class Asked(NamedTuple):
    """A caller's options; None takes the manifest's."""

    top_k: int | None = None
    threshold: float | None = None


class Anchored:
    """Boxes relative to anchors (SSD, BlazeFace)."""

    def __init__(self, output: Ssd, given: ImageInput, labels: Sequence[str], kernels: Kernels) -> None:
        self._output = output
        self._labels = labels
        columns = 4 + 2 * len(output.keypoints)
        self._read = kernels.anchored(
            anchors(output.strides, given.width, given.height), columns, len(labels)
        )

    def __call__(self, outputs: Sequence[NDArray[np.float32]], scene: Scene, asked: Asked) -> Objects:
        """Suppressed per class, surest first; raises NotFinite."""
        output = self._output
        least = output.score_threshold if asked.threshold is None else asked.threshold
        most = min(output.max_results, asked.top_k or output.max_results)
        rows = self._read(outputs[0], outputs[1], _logit(least), output.iou_threshold, most)
        found = [self._object(row, scene) for row in rows.tolist()]
        return Objects([each for each in found if each is not None], scene.width, scene.height)

    def _object(self, row: Sequence[float], scene: Scene) -> Object | None:
        """One row of `kernels.Anchored`; None where it lies outside the picture."""
        box = _box(row[2:6], scene)
        if box is None:
            return None
        scale_x, scale_y, offset_x, offset_y = scene.placement
        points = [
            Point(name, round((x - offset_x) / scale_x, 2), round((y - offset_y) / scale_y, 2))
            for name, x, y in zip(self._output.keypoints, row[6::2], row[7::2], strict=True)
        ]
        return Object(self._labels[int(row[0])], round(_sigmoid(row[1]), 4), box, points)


class Detected:
    """Boxes as TFLite_Detection_PostProcess gives them."""

    def __init__(self, output: Detection, given: ImageInput, labels: Sequence[str]) -> None:
        self._output = output
        self._labels = labels
        self._size = np.array((given.width, given.height, given.width, given.height), np.float32)

    def __call__(self, outputs: Sequence[NDArray[np.float32]], scene: Scene, asked: Asked) -> Objects:
        """What passes the threshold, surest first."""
        boxes, classes, scores = outputs[0].reshape(-1, 4), outputs[1].reshape(-1), outputs[2].reshape(-1)
        count = min(len(boxes), classes.size, scores.size)
        if len(outputs) == 4:
            count = min(count, max(0, int(outputs[3].reshape(-1)[0])))
        least = self._output.score_threshold if asked.threshold is None else asked.threshold
        most = min(self._output.max_results, asked.top_k or self._output.max_results)
        order = np.argsort(-scores[:count], kind="stable")
        corners = boxes[:, (1, 0, 3, 2)] * self._size
        objects: list[Object] = []
        for i in order[scores[order] >= least].tolist():
            box = _box(corners[i].tolist(), scene)
            if box is not None and len(objects) < most:
                objects.append(Object(self._label(int(classes[i])), round(float(scores[i]), 4), box))
        return Objects(objects, scene.width, scene.height)

    def _label(self, kind: int) -> str:
        return self._labels[kind] if 0 <= kind < len(self._labels) else f"class {kind}"


def anchors(strides: Sequence[int], width: int, height: int) -> NDArray[np.float32]:
    """(N, 2) anchor centres x, y in input pixels.

    MediaPipe's SsdAnchorsCalculator with fixed anchor size: neighbouring layers of one stride share a grid,
    two anchors a cell and layer.
    """
    parts = []
    layer = 0
    while layer < len(strides):
        stride = strides[layer]
        same = layer
        while same < len(strides) and strides[same] == stride:
            same += 1
        rows, columns = -(-height // stride), -(-width // stride)
        y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1)
        centres = np.stack(((x + 0.5) * (width / columns), (y + 0.5) * (height / rows)), axis=1)
        parts.append(np.repeat(centres, 2 * (same - layer), axis=0))
        layer = same
    return np.concatenate(parts).astype(np.float32)


def _logit(score: float) -> float:
    if score <= 0.0:
        return -math.inf
    return math.inf if score >= 1.0 else math.log(score / (1.0 - score))


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit > -700.0 else 0.0


def _box(corners: Sequence[float], scene: Scene) -> Box | None:
    """A box in picture pixels, clipped to the picture; None where it lies outside."""
    x0, y0 = scene.placement.to_picture(corners[0], corners[1])
    x1, y1 = scene.placement.to_picture(corners[2], corners[3])
    x0, x1 = max(0.0, x0), min(float(scene.width), x1)
    y0, y1 = max(0.0, y0), min(float(scene.height), y1)
    return Box(round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2)) if x0 < x1 and y0 < y1 else None
