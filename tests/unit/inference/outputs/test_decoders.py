from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.inference.kernels.plain import PlainKernels
from edged.inference.manifest import (
    Anomaly,
    Classification,
    Detection,
    ImageInput,
    Input,
    Manifest,
    Output,
    Ssd,
    Tensors,
    Variant,
    VectorInput,
)
from edged.inference.outputs.decoders import decoder, describe
from edged.inference.outputs.detectors import Asked, Scene
from edged.inference.values import (
    Box,
    Deviation,
    Finding,
    Heard,
    Hit,
    Labels,
    Object,
    Objects,
    Score,
    Tensor,
    TensorList,
)

NUMBERS = VectorInput(names=["a", "b", "c"], mean=[0, 0, 0], std=[1, 1, 1])
LABELS = ["cat", "dog", "fox"]
NOWHERE = Scene()


def manifest(given: Input, output: Output) -> Manifest:
    return Manifest(
        schema=1,
        name="m",
        version="1",
        title="t",
        description="d",
        licence="l",
        source="s",
        input=given,
        output=output,
        variants=[Variant(name="v", file="f", sha256="0" * 64)],
    )


def read(
    given: Input, output: Output, tensor: Sequence[float], *, scene: Scene = NOWHERE, **asked: float
) -> Finding:
    how = decoder(manifest(given, output), LABELS, ["out"], PlainKernels())
    return how.read([np.array([tensor], np.float32)], scene, Asked(**asked))  # type: ignore[arg-type] # per test


class TestClassification:
    def test_the_likeliest_labels_come_first(self) -> None:
        found = read(NUMBERS, Classification(labels=LABELS), [0.1, 0.7, 0.2])
        assert found == Labels([Score("dog", 0.7), Score("fox", 0.2), Score("cat", 0.1)])

    def test_a_softmax_makes_shares_of_one(self) -> None:
        found = read(NUMBERS, Classification(labels=LABELS, activation="softmax"), [0.0, np.log(2.0), 0.0])
        assert found == Labels([Score("dog", 0.5), Score("cat", 0.25), Score("fox", 0.25)])

    def test_a_sigmoid_judges_each_by_itself(self) -> None:
        found = read(NUMBERS, Classification(labels=LABELS, activation="sigmoid"), [0.0, 50.0, -50.0])
        assert found == Labels([Score("dog", 1.0), Score("cat", 0.5), Score("fox", 0.0)])

    @pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (100, 3)])
    def test_a_caller_chooses_how_many(self, top_k: int, count: int) -> None:
        found = read(NUMBERS, Classification(labels=LABELS), [0.1, 0.7, 0.2], top_k=top_k)
        assert isinstance(found, Labels)
        assert len(found.labels) == count

    def test_what_scores_below_the_threshold_is_left_out(self) -> None:
        output = Classification(labels=LABELS, threshold=0.15)
        assert read(NUMBERS, output, [0.1, 0.7, 0.2]) == Labels([Score("dog", 0.7), Score("fox", 0.2)])
        assert read(NUMBERS, output, [0.1, 0.7, 0.2], threshold=0.9) == Labels([])
        assert read(NUMBERS, output, [0.1, 0.7, 0.2], threshold=0.0) == Labels(
            [Score("dog", 0.7), Score("fox", 0.2), Score("cat", 0.1)]
        )


class TestAnomaly:
    GIVEN = Scene(given=np.array([1.0, 2.0, 3.0], np.float32))

    def test_the_score_is_the_mean_squared_difference_and_says_who_carries_it(self) -> None:
        found = read(NUMBERS, Anomaly(threshold=1.0), [1.0, 4.0, 2.0], scene=self.GIVEN)
        assert isinstance(found, Deviation)
        assert found.score == pytest.approx(5 / 3)
        assert found.anomalous
        assert found.contributions == [Score("b", 0.8), Score("c", 0.2), Score("a", 0.0)]

    def test_a_perfect_reconstruction_has_no_contributions(self) -> None:
        found = read(NUMBERS, Anomaly(threshold=1.0), [1.0, 2.0, 3.0], scene=self.GIVEN)
        assert found == Deviation(0.0, 1.0, anomalous=False, contributions=[])

    def test_a_reconstruction_at_the_end_of_float32_does_not_overflow(self) -> None:
        found = read(NUMBERS, Anomaly(threshold=1.0), [3e38, -3e38, 0.0], scene=self.GIVEN)
        assert isinstance(found, Deviation)
        assert np.isfinite(found.score)

    @given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
    def test_contributions_fall_and_are_shares_of_one(self, tensor: list[float]) -> None:
        found = read(NUMBERS, Anomaly(threshold=1.0), tensor, scene=self.GIVEN)
        assert isinstance(found, Deviation)
        shares = [c.score for c in found.contributions]
        assert shares == sorted(shares, reverse=True)
        assert not shares or sum(shares) == pytest.approx(1.0, abs=2e-4)


def test_tensors_are_given_as_they_are() -> None:
    found = read(NUMBERS, Tensors(), [1.0, 2.5, -3.0])
    assert found == TensorList([Tensor("out", [1, 3], [1.0, 2.5, -3.0])])


@pytest.mark.parametrize("output", [Ssd(strides=[32]), Detection(labels=LABELS)])
def test_a_detector_reads_the_tensors_its_manifest_names(output: Output) -> None:
    image = ImageInput(width=64, height=64)
    assert decoder(manifest(image, output), LABELS, ["a", "b", "c", "d"], PlainKernels()).tensors[:2] == (
        0,
        1,
    )


FACE = Object("face", 0.923, Box(180.2, 81.6, 274.4, 176.1))


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (
            Labels([Score("Egyptian cat", 0.403), Score("tiger cat", 0.322)]),
            "Egyptian cat 0.40, tiger cat 0.32",
        ),
        (Labels([]), "no label reaches the threshold"),
        (Objects([FACE], 512, 512), "1 face: 0.92 at [180, 82, 274, 176]"),
        (
            Objects([FACE, FACE], 512, 512),
            "2 found: face 0.92 at [180, 82, 274, 176], face 0.92 at [180, 82, 274, 176]",
        ),
        (Objects([], 512, 512), "nothing found"),
        (
            Heard([Score("okay_nabu", 0.988)], [Hit("okay_nabu", 0.988, 1.23)], 2.0),
            "heard okay_nabu 0.99 at 1.2 s",
        ),
        (Heard([Score("okay_nabu", 0.03)], [], 2.0), "heard nothing in 2.0 s (okay_nabu at most 0.03)"),
        (Deviation(0.05, 0.21, False, [Score("a", 0.9)]), "normal: 0.05, threshold 0.21"),
        (Deviation(0.82, 0.21, True, [Score("a", 0.9)]), "anomalous: 0.82, threshold 0.21; mostly a 90%"),
        (TensorList([Tensor("y", [1, 2], [0.0, 1.0])]), "y [1, 2]"),
    ],
)
def test_a_finding_is_one_line_of_words(finding: Finding, words: str) -> None:
    assert describe(finding) == words


def test_a_crowd_is_counted_and_not_listed() -> None:
    text = describe(Objects([FACE] * 40, 512, 512))
    assert text.startswith("40 found: face")
    assert text.endswith("and 35 more")
