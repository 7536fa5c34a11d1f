from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edged.inference.kernels.plain import PlainKernels
from edged.inference.outputs.annotate import SIDE_MAX, draw, rgb
from edged.inference.values import Box, Labels, Layout, Object, Objects, Picture, Point, Score
from tests.rig.images import Pixels

GREY = np.full((120, 160, 3), 128, np.uint8)


def drawn(pixels: Pixels, finding: Labels | Objects) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(draw(pixels, finding))))


def test_a_box_is_drawn_where_it_is_and_nowhere_else() -> None:
    box = Box(40.0, 50.0, 100.0, 110.0)
    picture = drawn(GREY, Objects([Object("face", 0.9, box, [Point("nose", 70.0, 80.0)])], 160, 120))
    changed = (picture != 128).any(axis=2)
    assert changed[50, 41:100].all()
    assert changed[80, 70]
    assert not changed[:, 120:].any()
    assert not changed[112:, :].any()


def test_the_picture_given_is_not_drawn_on() -> None:
    pixels = GREY.copy()
    draw(pixels, Objects([Object("face", 0.9, Box(10, 10, 50, 50))], 160, 120))
    np.testing.assert_array_equal(pixels, GREY)


def test_labels_are_written_at_the_top() -> None:
    changed = (drawn(GREY, Labels([Score("cat", 0.9)])) != 128).any(axis=2)
    assert changed[:12].any()
    assert not changed[60:].any()


def test_a_camera_s_full_picture_comes_back_smaller_with_its_box_in_place() -> None:
    large = np.full((2000, 2560, 3), 128, np.uint8)
    picture = drawn(large, Objects([Object("face", 0.9, Box(1280, 1000, 2000, 1800))], 2560, 2000))
    assert picture.shape == (1000, SIDE_MAX, 3)
    assert (picture[500, 645:990] != 128).any(axis=1).all()


def test_no_finding_hostile_to_drawing_stops_the_answer() -> None:
    odd = [
        Object("", 0.5, Box(0.0, 0.0, 0.1, 0.1)),
        Object("ярлык 🙂\nnewline", 1.0, Box(0.0, 0.0, 160.0, 120.0), [Point("far", -1e6, 1e6)]),
    ]
    assert drawn(np.zeros((1, 1, 3), np.uint8), Objects(odd, 1, 1)).shape == (1, 1, 3)
    assert drawn(GREY, Objects(odd * 400, 160, 120)).shape == GREY.shape


@pytest.mark.parametrize(
    ("layout", "pixels"),
    [
        (Layout.RGB, np.full((4, 6, 3), (200, 10, 30), np.uint8)),
        (Layout.BGR, np.full((4, 6, 3), (30, 10, 200), np.uint8)),
        (Layout.RGBA, np.full((4, 6, 4), (200, 10, 30, 0), np.uint8)),
    ],
)
def test_every_layout_is_drawn_in_its_colours(layout: Layout, pixels: Pixels) -> None:
    np.testing.assert_array_equal(
        rgb(Picture(layout, 4, 6, pixels), PlainKernels()), np.full((4, 6, 3), (200, 10, 30), np.uint8)
    )


def test_gray_and_camera_layouts_become_rgb() -> None:
    gray = np.full((4, 6), 77, np.uint8)
    assert (rgb(Picture(Layout.GRAY, 4, 6, gray), PlainKernels()) == 77).all()
    nv12 = np.concatenate((np.full((4, 6), 126, np.uint8), np.full((2, 6), 128, np.uint8)))
    assert np.abs(rgb(Picture(Layout.NV12, 4, 6, nv12), PlainKernels()).astype(int) - 128).max() <= 1
