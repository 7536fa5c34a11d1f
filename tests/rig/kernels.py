"""The three backends to test, and what their results are measured against: the definitions, in float64."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import floor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edged.inference.kernels import native
from edged.inference.kernels.build import build
from edged.inference.kernels.plain import PlainKernels
from edged.inference.kernels.seam import Kernels, Target, choose
from edged.inference.values import Layout, Picture

Backend = Literal["native", "jit", "numpy"]
BACKENDS: tuple[Backend, ...] = ("native", "jit", "numpy")
Colour = Literal["rgb", "bgr", "gray"]
COLOURS: tuple[Colour, ...] = ("rgb", "bgr", "gray")
Fit = Literal["stretch", "letterbox", "crop"]
FITS: tuple[Fit, ...] = ("stretch", "letterbox", "crop")


def library(base: Path) -> Path:
    """A directory with compiled kernels, built once for all test processes that share `base`."""
    directory = base / "compiled-kernels"
    with _held(base / "compiled-kernels.lock"):
        build(directory)
    return directory


@cache
def backend(name: Backend, directory: Path) -> Kernels:
    """A backend by name; native from the library in `directory`."""
    if name == "numpy":
        return PlainKernels()
    return native.load(directory)[0] if name == "native" else choose("jit", directory).kernels


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def target(
    height: int,
    width: int,
    colour: Colour = "rgb",
    fit: Fit = "stretch",
    dtype: str = "float32",
    mean: tuple[float, ...] = (127.5,),
    std: tuple[float, ...] = (127.5,),
    *,
    pad: float = 0.0,
    scale: float = 1 / 128,
    zero_point: int = 0,
) -> Target:
    """A target with what a test does not care about filled in."""
    return Target(height, width, colour, fit, pad, mean, std, np.dtype(dtype), scale, zero_point)


def random_picture(layout: Layout, height: int, width: int, seed: int = 0) -> Picture:
    """A picture of noise: the hardest to get right, every pixel differs from its neighbours."""
    rng = np.random.default_rng(seed)
    return Picture(layout, height, width, rng.integers(0, 256, layout.shape(height, width), dtype=np.uint8))


def tensor(to: Target, fill: int = 77) -> NDArray[Any]:
    """An output for this target, filled with something a fit has to overwrite."""
    return np.full((to.height, to.width, to.channels), fill, to.dtype)


class Oracle:
    """A fit by its definition, one number at a time in float64; slow, and written apart from the kernels."""

    def __init__(self, picture: Picture, to: Target) -> None:
        self._picture, self._to = picture, to
        self._scale_x, self._scale_y, self._left, self._top = self._place()

    def tensor(self) -> NDArray[np.float64]:
        """What the tensor should hold, before rounding."""
        size = range(self._to.height), range(self._to.width)
        return np.array([[self._normalised(self._pixel(i, j)) for j in size[1]] for i in size[0]])

    def stored(self) -> NDArray[np.float64]:
        """What the tensor should hold: rounded and clipped where it has 8 bits."""
        exact = self.tensor()
        if self._to.dtype == np.float32:
            return exact
        low, high = (-128, 127) if self._to.dtype == np.int8 else (0, 255)
        return np.clip(np.round(exact), low, high)

    def unit(self) -> float:
        """The largest difference allowed: a step of 8 bits, or 1e-5 of what the whole range of pixels becomes."""
        return 1.0 if self._to.dtype != np.float32 else 1e-5 * max(1.0, 255 / min(self._to.std))

    def _place(self) -> tuple[float, float, float, float]:
        (_, h, w, _), to = self._picture, self._to
        if to.fit == "stretch":
            return to.width / w, to.height / h, 0.0, 0.0
        if to.fit == "crop":
            scale = max(to.width / w, to.height / h)
            return scale, scale, to.width / 2 - w * scale / 2, to.height / 2 - h * scale / 2
        scale = min(to.width / w, to.height / h)
        columns, rows = max(1, round(w * scale)), max(1, round(h * scale))
        return columns / w, rows / h, (to.width - columns) // 2, (to.height - rows) // 2

    def _pixel(self, i: int, j: int) -> list[float]:
        (_, h, w, _), to = self._picture, self._to
        u, v = (j + 0.5 - self._left) / self._scale_x, (i + 0.5 - self._top) / self._scale_y
        if to.fit == "letterbox" and not (0 < u < w and 0 < v < h):
            return [to.pad] * to.channels
        rgb = self._rgb(u, v)
        if to.colour == "gray":
            return [rgb[0]] if len(rgb) == 1 else [0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]]
        rgb = rgb * 3 if len(rgb) == 1 else rgb
        return rgb[::-1] if to.colour == "bgr" else rgb

    def _rgb(self, u: float, v: float) -> list[float]:
        """The colour at a place in the picture (edges at whole numbers); one value where only luma counts."""
        layout, h, w, pixels = self._picture
        if layout is Layout.GRAY:
            return [self._sample(pixels, u, v)]
        if layout is Layout.NV12:
            luma = self._sample(pixels[:h], u, v)
            chroma = [self._sample(pixels[h:, c::2], u / 2, v / 2) for c in (0, 1)]
            return self._converted(luma, chroma)
        if layout is Layout.YUYV:
            flat = pixels.reshape(h, 2 * w)
            return self._converted(
                self._sample(flat[:, ::2], u, v), [self._sample(flat[:, c::4], u / 2, v) for c in (1, 3)]
            )
        rgb = [self._sample(pixels[:, :, c], u, v) for c in range(3)]
        return rgb[::-1] if layout is Layout.BGR else rgb

    def _converted(self, luma: float, chroma: list[float]) -> list[float]:
        """BT.601: luma 16 to 235, chroma 16 to 240."""
        y, (cb, cr) = (luma - 16) / 219, ((c - 128) / 224 for c in chroma)
        if self._to.colour == "gray":
            return [min(max(255 * y, 0), 255)]
        kr, kb = 0.299, 0.114
        red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        green = (y - kr * red - kb * blue) / (1 - kr - kb)
        return [min(max(255 * value, 0.0), 255.0) for value in (red, green, blue)]

    @staticmethod
    def _sample(plane: NDArray[np.uint8], u: float, v: float) -> float:
        """Bilinear between pixel centres, which lie at a half; the edges' pixels go on for ever."""
        x, y = u - 0.5, v - 0.5
        x0, y0 = floor(x), floor(y)
        total = 0.0
        for row, share_y in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
            for column, share_x in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                r, c = min(max(row, 0), plane.shape[0] - 1), min(max(column, 0), plane.shape[1] - 1)
                total += share_x * share_y * float(plane[r, c])
        return total

    def _normalised(self, pixel: list[float]) -> list[float]:
        to = self._to
        mean, std = to.mean * len(pixel), to.std * len(pixel)
        real = [(value - mean[c]) / std[c] for c, value in enumerate(pixel)]
        return real if to.dtype == np.float32 else [value / to.scale + to.zero_point for value in real]
