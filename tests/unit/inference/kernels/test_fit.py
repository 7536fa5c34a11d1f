from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.errors import BadArgument, BadPicture
from edged.inference.kernels.seam import Kernels, Target
from edged.inference.values import Layout, Picture
from tests.rig.kernels import COLOURS, FITS, Colour, Fit, Oracle, random_picture, target, tensor

pytestmark = pytest.mark.timeout(600)  # the first test of a backend waits for its compiler

DTYPES = ("float32", "int8", "uint8")
SUBSAMPLED = {Layout.NV12: (2, 2), Layout.YUYV: (1, 2)}

shared_fixture = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    layout = draw(st.sampled_from(list(Layout)))
    step_y, step_x = SUBSAMPLED.get(layout, (1, 1))
    height, width = draw(st.integers(1, 24 // step_y)) * step_y, draw(st.integers(1, 24 // step_x)) * step_x
    return random_picture(layout, height, width, draw(st.integers(0, 1000)))


@st.composite
def targets(draw: st.DrawFn) -> Target:
    colour = draw(st.sampled_from(COLOURS))
    channels = draw(st.sampled_from((1, 1 if colour == "gray" else 3)))
    mean = tuple(draw(st.floats(0, 255)) for _ in range(channels))
    std = tuple(draw(st.floats(1, 255)) for _ in range(channels))
    return Target(
        draw(st.integers(1, 13)),
        draw(st.integers(1, 13)),
        colour,
        draw(st.sampled_from(FITS)),
        draw(st.floats(0, 255)),
        mean,
        std,
        np.dtype(draw(st.sampled_from(DTYPES))),
        draw(st.floats(1 / 512, 1.0)),
        draw(st.integers(-128, 127)),
    )


def assert_close(out: np.ndarray[Any, Any], picture: Picture, to: Target) -> None:
    oracle = Oracle(picture, to)
    assert np.abs(out.astype(np.float64) - oracle.stored()).max() <= oracle.unit()


@settings(shared_fixture, max_examples=150)
@given(picture=pictures(), to=targets())
def test_any_picture_lands_in_any_tensor_as_the_definition_says(
    kernels: Kernels, picture: Picture, to: Target
) -> None:
    out = tensor(to)
    kernels.fit(picture, to, out)
    assert_close(out, picture, to)


@pytest.mark.parametrize(("layout", "colour", "fit", "dtype"), list(product(Layout, COLOURS, FITS, DTYPES)))
def test_every_layout_fits_every_kind_of_tensor(
    kernels: Kernels, layout: Layout, colour: Colour, fit: Fit, dtype: str
) -> None:
    std = (127.5,) if colour == "gray" else (58.4, 57.1, 57.4)
    to = target(9, 7, colour, fit, dtype, std=std, pad=114.0, scale=1 / 51, zero_point=3)
    picture, out = random_picture(layout, 10, 22), tensor(target(9, 7, colour, dtype=dtype))
    kernels.fit(picture, to, out)
    assert_close(out, picture, to)


@settings(shared_fixture, max_examples=60)
@given(picture=pictures(), to=targets())
def test_a_fit_reads_and_writes_nothing_beyond_its_arrays(
    kernels: Kernels, picture: Picture, to: Target
) -> None:
    source = np.full(picture.pixels.size + 128, 255, np.uint8)
    source[64:-64] = picture.pixels.ravel()
    pixels = source[64:-64].reshape(picture.pixels.shape)
    out = np.full(to.height * to.width * to.channels + 128, 55, to.dtype)
    inside = out[64:-64].reshape(to.height, to.width, to.channels)
    kernels.fit(picture._replace(pixels=pixels), to, inside)
    before = inside.copy()
    assert (out[:64] == 55).all()
    assert (out[-64:] == 55).all()
    source[:64] = source[-64:] = 0
    kernels.fit(picture._replace(pixels=pixels), to, inside)
    assert (inside == before).all()


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.RGBA, Layout.GRAY])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_picture_of_the_tensors_size_is_copied(kernels: Kernels, layout: Layout, dtype: str) -> None:
    to = target(
        5, 6, "gray" if layout is Layout.GRAY else "rgb", dtype=dtype, mean=(0.0,), std=(1.0,), scale=1.0
    )
    to = to._replace(zero_point=-128 if dtype == "int8" else 0)
    picture, out = random_picture(layout, 5, 6), tensor(to)
    kernels.fit(picture, to, out)
    expected = picture.pixels.reshape(5, 6, -1)[..., : to.channels].astype(np.int64)
    assert (out == expected - (128 if dtype == "int8" else 0)).all()


def test_gray_takes_a_tensor_with_and_without_a_channel_axis(kernels: Kernels) -> None:
    to, picture = target(4, 3, "gray"), random_picture(Layout.RGB, 8, 9)
    flat, deep = np.zeros((4, 3), np.float32), np.zeros((4, 3, 1), np.float32)
    assert kernels.fit(picture, to, flat) == kernels.fit(picture, to, deep)
    assert (flat == deep[..., 0]).all()


def test_the_pixels_of_a_read_only_buffer_will_do(kernels: Kernels) -> None:
    picture = Picture(Layout.GRAY, 2, 2, np.frombuffer(bytes(4), np.uint8).reshape(2, 2))
    out = tensor(target(1, 1, "gray"))
    kernels.fit(picture, target(1, 1, "gray"), out)
    assert out.item() == -1.0


def test_the_placement_leads_back_to_the_picture(kernels: Kernels) -> None:
    picture, out = random_picture(Layout.RGB, 480, 640), tensor(target(128, 128))
    stretch, letterbox, crop = (kernels.fit(picture, target(128, 128, fit=fit), out) for fit in FITS)
    assert stretch.to_picture(128, 128) == pytest.approx((640, 480))
    assert letterbox.to_picture(0, 16) == pytest.approx((0, 0))
    assert letterbox.to_picture(128, 112) == pytest.approx((640, 480))
    assert crop.to_picture(0, 0) == pytest.approx((80, 0))
    assert crop.to_picture(128, 128) == pytest.approx((560, 480))


def test_a_letterbox_pads_with_the_normalised_border(kernels: Kernels) -> None:
    to = target(5, 4, fit="letterbox", mean=(100.0,), std=(10.0,), pad=114.0)
    out = tensor(to)
    kernels.fit(random_picture(Layout.RGB, 2, 8), to, out)
    assert out[[0, 1, 3, 4]] == pytest.approx(1.4)


def test_quantised_values_are_clipped(kernels: Kernels) -> None:
    white = Picture(Layout.GRAY, 1, 1, np.full((1, 1), 255, np.uint8))
    for dtype, scale, expected in (("int8", 1e-3, 127), ("uint8", 1e-3, 255), ("int8", 1.0, 1)):
        to = target(1, 1, "gray", dtype=dtype, scale=scale)
        out = tensor(to)
        kernels.fit(white, to, out)
        assert out.item() == expected


def test_threads_may_share_a_backend_a_target_and_a_size(kernels: Kernels) -> None:
    to = target(40, 50, dtype="int8")
    shown = [random_picture(Layout.NV12, 60, 80, seed) for seed in range(8)]

    def fitted(picture: Picture) -> bytes:
        out = tensor(to)
        kernels.fit(picture, to, out)
        return out.tobytes()

    alone = [fitted(picture) for picture in shown]
    with ThreadPoolExecutor(4) as pool:
        for together in (list(pool.map(fitted, shown)) for _ in range(25)):
            assert together == alone


def test_more_sizes_than_are_remembered_are_still_right(kernels: Kernels) -> None:
    to = target(3, 3)
    for _ in range(2):
        for width in range(1, 40):
            picture, out = random_picture(Layout.RGB, 4, width), tensor(to)
            kernels.fit(picture, to, out)
            assert_close(out, picture, to)


BLACK = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        Picture(Layout.RGB, 4, 5, BLACK),
        Picture(Layout.RGBA, 4, 4, BLACK),
        Picture(Layout.RGB, 4, 4, BLACK.astype(np.int8)),
        Picture(Layout.RGB, 4, 4, BLACK[:, ::-1]),
        Picture(Layout.RGB, 4, 2, BLACK[:, ::2]),
        Picture(Layout.RGB, 0, 4, BLACK[:0]),
        Picture(Layout.RGB, 4, -4, BLACK),
        Picture(Layout.NV12, 3, 4, np.zeros((4, 4), np.uint8)),
        Picture(Layout.NV12, 4, 3, np.zeros((6, 3), np.uint8)),
        Picture(Layout.YUYV, 4, 3, np.zeros((4, 3, 2), np.uint8)),
    ],
    ids=[
        "width",
        "layout",
        "dtype",
        "order",
        "gaps",
        "empty",
        "negative",
        "nv12-height",
        "nv12-width",
        "yuyv-width",
    ],
)
def test_pixels_that_are_not_the_picture_are_refused(kernels: Kernels, picture: Picture) -> None:
    with pytest.raises(BadPicture):
        kernels.fit(picture, target(2, 2), tensor(target(2, 2)))


@pytest.mark.parametrize(
    ("change", "out"),
    [
        ({}, np.zeros((2, 2, 1), np.float32)),
        ({}, np.zeros((2, 2, 3), np.float64)),
        ({}, np.zeros((2, 4, 3), np.float32)[:, ::2]),
        ({}, np.frombuffer(bytes(48), np.float32).reshape(2, 2, 3)),
        ({"height": 0}, np.zeros((0, 2, 3), np.float32)),
        ({"dtype": np.dtype(np.int16)}, np.zeros((2, 2, 3), np.int16)),
        ({"mean": (1.0, 2.0)}, np.zeros((2, 2, 3), np.float32)),
        ({"std": (1.0, 0.0, 1.0)}, np.zeros((2, 2, 3), np.float32)),
        ({"dtype": np.dtype(np.int8), "scale": 0.0}, np.zeros((2, 2, 3), np.int8)),
    ],
    ids=["channels", "dtype", "gaps", "read-only", "empty", "int16", "mean", "std", "scale"],
)
def test_a_tensor_that_cannot_be_filled_is_refused(
    kernels: Kernels, change: dict[str, Any], out: np.ndarray[Any, Any]
) -> None:
    with pytest.raises(BadArgument):
        kernels.fit(Picture(Layout.RGB, 4, 4, BLACK), target(2, 2)._replace(**change), out)
