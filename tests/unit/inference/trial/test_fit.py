from __future__ import annotations

from typing import Any

import pytest

from edged.inference.trial.fit import anchor_count, differences
from edged.inference.trial.report import TensorInfo
from tests.rig.manifests import TENSORS, manifest


def tensor(name: str, *shape: int, dtype: str = "float32", scale: float = 0.0) -> TensorInfo:
    return TensorInfo(name, shape, dtype, scale, 0)


IMAGE = 'input = {kind = "image", width = 8, height = 6}\n'
GRAY = 'input = {kind = "image", width = 8, height = 6, colour = "gray"}\n'
AUDIO = 'input = {kind = "audio", features = 40, frames = 3}\n'
VECTOR = 'input = {kind = "vector", names = ["a", "b"], mean = [0, 0], std = [1, 1]}\n'
CLASSES = 'output = {kind = "classification", labels = ["x", "y", "z"]}\n'
SQUARE = 'input = {kind = "image", width = 128, height = 128}\n'
BLAZEFACE = SQUARE + 'output = {kind = "ssd", strides = [8, 16, 16, 16], keypoints = ["eye"]}\n'
DETECTION = 'output = {kind = "detection", labels = ["x"]}\n'
KEYWORD = 'output = {kind = "keyword", labels = ["x"]}\n'
ANOMALY = 'output = {kind = "anomaly", threshold = 1}\n'

PICTURE, GRAYS = tensor("in", 1, 6, 8, 3), tensor("in", 1, 6, 8, 1)
FRAMES = tensor("in", 1, 3, 40, dtype="int8", scale=0.1)
PAIR = tensor("in", 1, 2)
SCORES = tensor("out", 1, 3)
BOXES, CLASS, SCORE, COUNT = tensor("b", 1, 9, 4), tensor("c", 1, 9), tensor("s", 1, 9), tensor("n", 1)

FITTING: list[Any] = [
    (IMAGE + CLASSES, [PICTURE], [SCORES]),
    (IMAGE + CLASSES, [tensor("in", 1, 6, 8, 3, dtype="uint8", scale=0.5)], [tensor("out", 1, 1, 1, 3)]),
    (GRAY + CLASSES, [GRAYS], [SCORES]),
    (GRAY + CLASSES, [tensor("in", 1, 6, 8)], [SCORES]),
    (AUDIO + KEYWORD, [FRAMES], [tensor("out", 1, 1, dtype="uint8", scale=0.01)]),
    (VECTOR + ANOMALY, [PAIR], [tensor("out", 1, 2)]),
    (BLAZEFACE, [tensor("in", 1, 128, 128, 3)], [tensor("boxes", 1, 896, 6), tensor("scores", 1, 896, 1)]),
    (IMAGE + DETECTION, [PICTURE], [BOXES, CLASS, SCORE, COUNT]),
]

MISFITS: list[Any] = [
    (IMAGE + CLASSES, [tensor("in", 1, 8, 6, 3)], [SCORES],
     "input 'in' has shape [1, 8, 6, 3]; a rgb picture of 8 x 6 needs [1, 6, 8, 3]"),
    (IMAGE + CLASSES, [GRAYS], [SCORES], "needs [1, 6, 8, 3]"),
    (IMAGE + CLASSES, [PICTURE, PICTURE], [SCORES],
     "the model has 2 inputs; input.kind image fills exactly one"),
    (IMAGE + CLASSES, [], [SCORES], "the model has 0 inputs"),
    (IMAGE + CLASSES, [tensor("in", 1, 6, 8, 3, dtype="int32")], [SCORES],
     "input 'in' is of type int32; it may be float32, int8, uint8"),
    (IMAGE + CLASSES, [tensor("in", 1, 6, 8, 3, dtype="int8")], [SCORES], "input 'in' is int8 without a scale"),
    (IMAGE + CLASSES, [PICTURE], [tensor("out", 1, 4)], "output 'out' has shape [1, 4]; 3 labels need [1, 3]"),
    (IMAGE + CLASSES, [PICTURE], [tensor("out", 3, 1)], "3 labels need [1, 3]"),
    (IMAGE + CLASSES, [PICTURE], [], "output.tensor is 0; the model has 0 outputs"),
    (IMAGE + CLASSES, [PICTURE], [tensor("out", 1, 3, dtype="int8")], "output 'out' is int8 without a scale"),
    (AUDIO + KEYWORD, [tensor("in", 1, 2, 40)], [tensor("out", 1, 1)],
     "3 frames of 40 features needs [1, 3, 40]"),
    (AUDIO + KEYWORD, [FRAMES], [tensor("out", 1, 2)], "1 label need [1, 1]"),
    (VECTOR + ANOMALY, [tensor("in", 1, 3)], [tensor("out", 1, 3)], "2 named numbers needs [1, 2]"),
    (VECTOR + ANOMALY, [PAIR], [tensor("out", 1, 3)], "a reconstruction has 2 values, as the input"),
    (BLAZEFACE, [tensor("in", 1, 128, 128, 3)], [tensor("b", 1, 895, 6), tensor("s", 1, 896, 1)],
     "strides [8, 16, 16, 16] on 128 x 128 make 896 anchors, so boxes need [1, 896, 6]"),
    (BLAZEFACE, [tensor("in", 1, 128, 128, 3)], [tensor("b", 1, 896, 6), tensor("s", 1, 896, 2)],
     "scores need [1, 896, 1]"),
    (IMAGE + DETECTION, [PICTURE], [tensor("b", 1, 9, 5), CLASS, SCORE, COUNT], "boxes need [1, any, 4]"),
    (IMAGE + DETECTION, [PICTURE], [BOXES, CLASS, tensor("s", 1, 8), COUNT], "scores need [1, 9]"),
    (IMAGE + DETECTION, [PICTURE], [BOXES, CLASS, SCORE], "output.count is 3; the model has 3 outputs"),
    (TENSORS, [tensor("in", 1, dtype="bytes8")], [SCORES],
     "input 'in' is of type bytes8, which is not numeric"),
    (TENSORS, [], [SCORES], "the model has no input"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "inputs", "outputs"), FITTING)
def test_tensors_that_are_what_the_manifest_says_fit(parts: str, inputs: Any, outputs: Any) -> None:
    assert differences(manifest(parts), None, inputs, outputs) == []


@pytest.mark.parametrize(("parts", "inputs", "outputs", "named"), MISFITS)
def test_what_differs_is_named(parts: str, inputs: Any, outputs: Any, named: str) -> None:
    assert named in "; ".join(differences(manifest(parts), None, inputs, outputs))


def test_labels_in_a_file_are_counted_by_the_caller() -> None:
    declared = manifest(IMAGE + 'output = {kind = "classification", labels = "labels.txt"}\n')
    assert differences(declared, 3, [PICTURE], [SCORES]) == []
    assert differences(declared, 4, [PICTURE], [SCORES]) == [
        "output 'out' has shape [1, 3]; 4 labels need [1, 4]"
    ]


def test_blazeface_has_896_anchors_and_a_ragged_grid_rounds_up() -> None:
    assert anchor_count([8, 16, 16, 16], 128, 128) == 896
    assert anchor_count([8], 9, 17) == 2 * 2 * 3
