from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edged.inference.kernels.plain import PlainKernels
from edged.inference.manifest import Detection, ImageInput, Ssd
from edged.inference.outputs.detectors import Anchored, Asked, Detected, Scene, anchors
from edged.inference.trial.fit import anchor_count
from edged.inference.values import Box, Objects, Placement

KERNELS = PlainKernels()
INPUT = ImageInput(width=128, height=128)
HALF = Scene(Placement(0.5, 0.5, 0.0, 16.0), 256, 192)
"""A 256 x 192 picture letterboxed into 128 x 128."""

F32 = NDArray[np.float32]


def test_blazeface_has_its_896_anchors_in_mediapipe_s_order() -> None:
    found = anchors([8, 16, 16, 16], 128, 128)
    assert found.shape == (896, 2)
    np.testing.assert_array_equal(found[:3], [[4, 4], [4, 4], [12, 4]])
    np.testing.assert_array_equal(found[512:519], [[8, 8]] * 6 + [[24, 8]])
    np.testing.assert_array_equal(found[-1], [120, 120])


@given(st.lists(st.integers(1, 64), min_size=1, max_size=5), st.integers(8, 256), st.integers(8, 256))
def test_there_are_as_many_anchors_as_a_manifest_is_checked_for(
    strides: list[int], width: int, height: int
) -> None:
    found = anchors(strides, width, height)
    assert len(found) == anchor_count(strides, height, width)
    assert (found > 0).all()
    assert (found[:, 0] < width).all()
    assert (found[:, 1] < height).all()


def ssd(labels: Sequence[str] = ("face",), **settings: object) -> Anchored:
    output = Ssd(strides=[32], labels=list(labels), keypoints=["nose"], **settings)  # type: ignore[arg-type] # per test
    return Anchored(output, INPUT, labels, KERNELS)


def given_boxes(classes: int, *found: tuple[int, int, float, float]) -> list[F32]:
    """Tensors in which anchor, class, logit and half a side say what is there; all else is unlikely."""
    raw = np.zeros((1, 32, 6), np.float32)
    logits = np.full((1, 32, classes), -20.0, np.float32)
    for anchor, kind, logit, half in found:
        raw[0, anchor] = (0, 0, 2 * half, 2 * half, 3, -3)
        logits[0, anchor, kind] = logit
    return [raw, logits]


class TestAnchored:
    def test_a_box_and_its_keypoint_are_in_pixels_of_the_picture(self) -> None:
        found = ssd()(given_boxes(1, (10, 0, 2.0, 8.0)), HALF, Asked())  # its cell's centre is (48, 48)
        assert len(found.objects) == 1
        only = found.objects[0]
        assert only.label == "face"
        assert only.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-4)
        assert only.box == Box(80.0, 48.0, 112.0, 80.0)
        assert [(p.name, p.x, p.y) for p in only.keypoints] == [("nose", 102.0, 58.0)]
        assert (found.width, found.height) == (256, 192)

    def test_nothing_likely_is_nothing_found(self) -> None:
        assert ssd()(given_boxes(1), HALF, Asked()) == Objects([], 256, 192)

    def test_of_overlapping_boxes_the_surest_stays(self) -> None:
        found = ssd()(given_boxes(1, (10, 0, 1.0, 8.0), (11, 0, 3.0, 8.0)), HALF, Asked())
        assert [round(o.score, 2) for o in found.objects] == [0.95]

    def test_boxes_of_different_classes_do_not_suppress_each_other(self) -> None:
        found = ssd(("cat", "dog"))(given_boxes(2, (10, 0, 1.0, 8.0), (11, 1, 3.0, 8.0)), HALF, Asked())
        assert [o.label for o in found.objects] == ["dog", "cat"]
        assert found.objects[0].box == found.objects[1].box

    def test_a_box_is_clipped_to_the_picture_and_one_in_the_border_is_not_in_it(self) -> None:
        found = ssd()(given_boxes(1, (0, 0, 2.0, 20.0)), HALF, Asked())
        assert found.objects[0].box == Box(0.0, 0.0, 72.0, 40.0)
        found = ssd()(given_boxes(1, (0, 0, 2.0, 0.0)), HALF, Asked())
        assert found.objects == []

    @pytest.mark.parametrize(("threshold", "count"), [(0.0, 32), (0.5, 2), (0.9, 1), (1.0, 0), (7.0, 0)])
    def test_a_caller_chooses_the_threshold(self, threshold: float, count: int) -> None:
        tensors = given_boxes(1, (0, 0, 1.0, 9.0), (31, 0, 3.0, 9.0))
        tensors[0][0, :, 2:4] = 18.0
        found = ssd(iou_threshold=1.0)(
            tensors, Scene(Placement(1, 1, 0, 0), 128, 128), Asked(threshold=threshold)
        )
        assert len(found.objects) == count

    def test_a_caller_chooses_how_many_but_no_more_than_the_manifest(self) -> None:
        tensors = given_boxes(1, (0, 0, 1.0, 9.0), (12, 0, 2.0, 9.0), (31, 0, 3.0, 9.0))
        scene = Scene(Placement(1, 1, 0, 0), 128, 128)
        assert len(ssd(max_results=2)(tensors, scene, Asked()).objects) == 2
        assert len(ssd(max_results=2)(tensors, scene, Asked(top_k=1)).objects) == 1
        assert len(ssd(max_results=2)(tensors, scene, Asked(top_k=9)).objects) == 2


class TestDetected:
    BOXES = np.array([[[0.25, 0.125, 0.75, 0.5], [0.5, 0.5, 0.6, 0.6], [0.0, 0.0, 1.0, 1.0]]], np.float32)
    CLASSES = np.array([[1.0, 0.0, 7.0]], np.float32)
    SCORES = np.array([[0.6, 0.9, 0.3]], np.float32)

    def find(self, *tensors: F32, threshold: float | None = None, **settings: object) -> Objects:
        output = Detection(labels=["cat", "dog"], **settings)  # type: ignore[arg-type] # per test
        return Detected(output, INPUT, ["cat", "dog"])(tensors, HALF, Asked(threshold=threshold))

    def test_boxes_are_in_pixels_of_the_picture_surest_first(self) -> None:
        found = self.find(self.BOXES, self.CLASSES, self.SCORES)
        assert [(o.label, o.score) for o in found.objects] == [("cat", 0.9), ("dog", 0.6)]
        assert found.objects[1].box == Box(32.0, 32.0, 128.0, 160.0)

    def test_a_class_without_a_label_is_named_by_its_number(self) -> None:
        assert self.find(self.BOXES, self.CLASSES, self.SCORES, threshold=0.2).objects[-1].label == "class 7"

    @pytest.mark.parametrize(("count", "objects"), [(0.0, 0), (1.0, 1), (2.0, 2), (99.0, 2), (-3.0, 0)])
    def test_a_count_is_believed_only_within_the_tensors(self, count: float, objects: int) -> None:
        found = self.find(self.BOXES, self.CLASSES, self.SCORES, np.array([count], np.float32))
        assert len(found.objects) == objects

    def test_no_more_than_the_manifest_allows(self) -> None:
        assert len(self.find(self.BOXES, self.CLASSES, self.SCORES, max_results=1).objects) == 1
