"""The kernels' sources run by Python itself over lists that refuse every index they do not have."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edged.inference.kernels import audio, boxes, image, plans, sources, tensor
from edged.inference.kernels.frontend import tables
from edged.inference.kernels.plain import PlainKernels
from edged.inference.values import Layout
from tests.rig import kernels as rig

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (4, 6), (6, 4), (7, 3)]


class Fenced(list[Any]):
    """A list without negative indices."""

    def __getitem__(self, index: Any) -> Any:
        assert index >= 0
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        assert index >= 0
        super().__setitem__(index, value)


def fenced(array: NDArray[Any]) -> Any:
    return Fenced(array.ravel())


def whole_numbers(array: NDArray[Any]) -> Any:
    """Python's own integers, which do not overflow."""
    return Fenced(array.astype(np.int64).tolist())


def fits(layout: Layout, height: int, width: int) -> bool:
    return not (
        (layout is Layout.NV12 and height % 2) or (layout in {Layout.NV12, Layout.YUYV} and width % 2)
    )


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_no_fit_reaches_beyond_its_buffers(layout: Layout, dtype: str) -> None:
    kernel = image.fit_f32 if dtype == "float32" else image.fit_u8
    for (height, width), (rows, columns) in product(SIZES, [(1, 1), (2, 3), (5, 4)]):
        if not fits(layout, height, width):
            continue
        for colour, fit in product(rig.COLOURS, rig.FITS):
            to = rig.target(rows, columns, colour, fit, dtype)
            picture, plan = rig.random_picture(layout, height, width), plans.plan(layout, height, width, to)
            out = fenced(rig.tensor(to).view(np.uint8 if dtype == "int8" else np.float32))
            kernel(fenced(picture.pixels), out, fenced(plan.ints), fenced(plan.floats), fenced(plan.scratch))
            expected = rig.tensor(to)
            PlainKernels().fit(picture, to, expected)
            got = np.array(out, np.uint8).view(np.int8) if dtype == "int8" else np.array(out)
            assert np.abs(got.astype(np.float64) - expected.ravel()).max() <= (1 if dtype == "int8" else 1e-5)


def test_the_other_kernels_stay_within_theirs() -> None:
    x = np.linspace(-4, 4, 6, dtype=np.float32)
    out = fenced(np.zeros(6, np.float32))
    tensor.softmax(fenced(x), out, 2, 3)
    tensor.sigmoid(fenced(x), out, 6)
    tensor.dequantise_i8(fenced(x.astype(np.int8)), out, 6, 0.5, 1.0)
    tensor.dequantise_u8(fenced(x.astype(np.uint8)), out, 6, 0.5, 1.0)
    assert tensor.all_finite(fenced(x), 6) == 1
    best = fenced(np.zeros(4, np.int64))
    assert tensor.top_k(fenced(x), 6, 4, best) == 4
    assert best == [5, 4, 3, 2]


def test_the_kernel_over_boxes_stays_within_its_scratch() -> None:
    raw = np.array(
        [[0, 0, 2, 2, 1, 1], [0, 0, 2, 2, 1, 1], [5, 5, 1, 1, 1, 1], [9, 9, 1, 1, 1, 1]], np.float32
    )
    logits = np.array([[1, 0], [2, 0], [0, 3], [-1, -1]], np.float32)
    room = 3
    order, kinds = fenced(np.zeros(room, np.int64)), fenced(np.zeros(room, np.int64))
    scores, corners = fenced(np.zeros(room, np.float32)), fenced(np.zeros(4 * room, np.float32))
    gone, found = fenced(np.zeros(room, np.uint8)), fenced(np.zeros(2 * 8, np.float32))
    anchors = fenced(np.zeros((4, 2), np.float32))
    tensors = fenced(raw), fenced(logits), anchors
    assert (
        boxes.anchored(*tensors, 4, 6, 2, -5.0, 0.5, room, 2, order, kinds, scores, corners, gone, found) == 2
    )
    assert found == [1, 3, 4.5, 4.5, 5.5, 5.5, 1, 1, 0, 2, -1, -1, 1, 1, 1, 1]
    assert order == [2, 1, 0]


def test_the_audio_kernel_stays_within_its_tables() -> None:
    samples = np.random.default_rng(3).integers(-32768, 32768, 480 + 160).astype(np.int16)
    out = fenced(np.zeros(2 * audio.CHANNELS, np.float32))
    lookup, heard = whole_numbers(tables()), whole_numbers(samples)
    noise, scratch = (whole_numbers(np.zeros(count)) for count in (audio.CHANNELS, audio.SCRATCH))
    audio.micro_frontend(heard, 2, lookup, noise, scratch, out)
    assert (np.array(out).reshape(2, -1) == PlainKernels().micro_frontend().feed(samples)).all()


def test_every_kernel_has_a_name_of_its_own() -> None:
    names = [kernel.name for kernel in sources.KERNELS]
    assert len(set(names)) == len(names)
