from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edged.errors import BadArgument
from edged.inference.kernels.backend import CANDIDATES_MAX
from edged.inference.kernels.seam import Kernels, NotFinite

pytestmark = pytest.mark.timeout(600)  # the first test of a backend waits for its compiler

shared_fixture = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def logits(draw: st.DrawFn) -> NDArray[np.float32]:
    """Up to three axes of numbers as far apart as drawn."""
    rng, spread = (
        np.random.default_rng(draw(st.integers(0, 1000))),
        draw(st.sampled_from((0.01, 1.0, 20.0, 80.0))),
    )
    return rng.uniform(-spread, spread, draw(hnp.array_shapes(max_dims=3, max_side=40))).astype(np.float32)


coarse = hnp.arrays(np.float32, st.integers(0, 60), elements=st.integers(0, 9).map(float))


@settings(shared_fixture)
@given(x=logits())
def test_softmax_is_the_share_of_each_exponential(kernels: Kernels, x: NDArray[np.float32]) -> None:
    powers = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    expected = powers / powers.sum(axis=-1, keepdims=True)
    got = kernels.softmax(x)
    assert got.shape == x.shape
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= 1e-6


def test_softmax_survives_logits_that_overflow(kernels: Kernels) -> None:
    assert kernels.softmax(np.array([3e38, -3e38, 3e38], np.float32)) == pytest.approx([0.5, 0, 0.5])


@settings(shared_fixture)
@given(x=logits())
def test_sigmoid_is_the_logistic_function(kernels: Kernels, x: NDArray[np.float32]) -> None:
    expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(kernels.sigmoid(x) - expected).max() <= 1e-6


def test_sigmoid_is_finite_everywhere(kernels: Kernels) -> None:
    assert kernels.sigmoid(np.array([-3e38, 3e38], np.float32)) == pytest.approx([0, 1], abs=1e-30)


@settings(shared_fixture)
@given(
    raw=st.sampled_from((np.int8, np.uint8)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_side=0, max_side=50))
    ),
    scale=st.floats(1e-4, 10.0),
    zero_point=st.integers(-128, 255),
)
def test_dequantising_gives_the_real_number(
    kernels: Kernels, raw: NDArray[Any], scale: float, zero_point: int
) -> None:
    expected = (raw.astype(np.float64) - zero_point) * scale
    np.testing.assert_allclose(kernels.dequantise(raw, scale, zero_point), expected, rtol=1e-6)


def test_dequantising_floats_leaves_them(kernels: Kernels) -> None:
    assert (kernels.dequantise(np.array([1.5], np.float32), 0.0, 0) == [1.5]).all()


def test_dequantising_anything_else_is_refused(kernels: Kernels) -> None:
    with pytest.raises(BadArgument, match="int64"):
        kernels.dequantise(np.array([1]), 1.0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 17, 99])
def test_one_number_that_is_none_is_found(kernels: Kernels, bad: float, at: int) -> None:
    values = np.linspace(-3e38, 3e38, 100, dtype=np.float32)
    assert kernels.all_finite(values)
    values[at] = bad
    assert not kernels.all_finite(values)
    assert kernels.all_finite(values[:0])


@settings(shared_fixture)
@given(scores=coarse, k=st.integers(-1, 70))
def test_top_k_falls_and_breaks_ties_by_index(kernels: Kernels, scores: NDArray[np.float32], k: int) -> None:
    expected = sorted(range(scores.size), key=lambda i: (-scores[i], i))[: max(k, 0)]
    got = kernels.top_k(scores, k)
    assert got.dtype == np.intp
    assert got.tolist() == expected


def test_top_k_wants_one_row(kernels: Kernels) -> None:
    with pytest.raises(BadArgument, match=r"\(N,\)"):
        kernels.top_k(np.zeros((2, 2), np.float32), 1)


def iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both else 0.0


def suppressed(
    boxes: list[list[float]], found: list[tuple[int, float]], threshold: float, limit: int
) -> list[int]:
    """Indices that stay, by (class, score) and the definition."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-found[i][1], i)):
        if all(found[i][0] != found[k][0] or iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept[:limit]


# Corners on a grid and a threshold between its ratios: no rounding can tip a comparison.
corner = st.integers(0, 8)
box = st.tuples(corner, corner, corner, corner).map(
    lambda c: [min(c[::2]), min(c[1::2]), max(c[::2]), max(c[1::2])]
)
KINDS = 2


@settings(shared_fixture)
@given(
    found=st.lists(st.tuples(box, st.integers(0, KINDS - 1), st.integers(0, 5)), max_size=40),
    least=st.integers(0, 3),
    threshold=st.sampled_from((0.0, 0.3001, 0.50001, 0.9999)),
    limit=st.integers(0, 45),
)
def test_of_likely_boxes_of_a_class_that_overlap_the_surest_stays(
    kernels: Kernels, found: list[tuple[list[int], int, int]], least: int, threshold: float, limit: int
) -> None:
    anchors = np.arange(2 * len(found), dtype=np.float32).reshape(-1, 2)
    corners = np.array([b for b, _, _ in found], np.float32).reshape(-1, 4)
    raw = np.zeros((len(found), 6), np.float32)
    raw[:, :2] = (corners[:, :2] + corners[:, 2:]) / 2 - anchors
    raw[:, 2:4] = corners[:, 2:] - corners[:, :2]
    raw[:, 4:] = (0.5, -1.5)
    logits = np.full((len(found), KINDS), -9, np.float32)
    for i, (_, kind, score) in enumerate(found):
        logits[i, kind] = score
    rows = kernels.anchored(anchors, 6, KINDS)(raw, logits, least, threshold, limit)
    likely = [i for i, (_, _, score) in enumerate(found) if score >= least]
    kept = suppressed(corners[likely].tolist(), [found[i][1:] for i in likely], threshold, limit)
    expected = [
        [*found[i][1:], *corners[i], anchors[i, 0] + 0.5, anchors[i, 1] - 1.5]
        for i in (likely[k] for k in kept)
    ]
    assert rows.dtype == np.float32
    assert rows.tolist() == expected


def test_only_the_surest_thousand_boxes_are_looked_at(kernels: Kernels) -> None:
    count = CANDIDATES_MAX + 200
    anchors = np.arange(2 * count, dtype=np.float32).reshape(-1, 2)
    raw = np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1))
    logits = np.random.default_rng(5).permutation(count).astype(np.float32)[:, None]
    rows = kernels.anchored(anchors, 4, 1)(raw, logits, -np.inf, 0.5, count)
    assert rows[:, 1].tolist() == list(range(count - 1, count - 1 - CANDIDATES_MAX, -1))
    assert rows[0].tolist() == [
        0,
        count - 1,
        *(anchors[logits.argmax()] - 0.5),
        *(anchors[logits.argmax()] + 0.5),
    ]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tensor", [0, 1])
def test_boxes_are_not_read_from_what_is_no_number(kernels: Kernels, tensor: int, number: float) -> None:
    tensors = [np.zeros((3, 4), np.float32), np.zeros((3, 1), np.float32)]
    tensors[tensor][2, 0] = number
    with pytest.raises(NotFinite):
        kernels.anchored(np.zeros((3, 2), np.float32), 4, 1)(tensors[0], tensors[1], 0.0, 0.5, 1)


def test_a_box_has_at_least_its_middle_and_its_size(kernels: Kernels) -> None:
    for anchors, columns, classes in (
        (np.zeros(2), 4, 1),
        (np.zeros((1, 2)), 3, 1),
        (np.zeros((1, 2)), 4, 0),
    ):
        with pytest.raises(BadArgument, match="anchors"):
            kernels.anchored(anchors.astype(np.float32), columns, classes)
