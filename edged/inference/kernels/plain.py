"""The kernels in numpy, for where no compiler has ever run: the same results, several times slower."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.inference.kernels import image
from edged.inference.kernels.backend import (
    CANDIDATES_MAX,
    Anchored,
    Fit,
    Floats,
    Indices,
    Kernels,
    NotFinite,
    shapes,
)
from edged.inference.kernels.frontend import MicroFrontend
from edged.inference.kernels.plain_audio import PlainMicroFrontend
from edged.inference.kernels.plans import (
    LUMA_WEIGHTS,
    Axis,
    Resize,
    Target,
    affine,
    check_picture,
    check_target,
    quantised,
    resize,
)
from edged.inference.values import Layout

_Bytes = NDArray[np.uint8]
_EXP_MAX = np.float32(87.5)


class PlainKernels(Kernels):
    """The backend that needs nothing but numpy."""

    name = "numpy"

    def micro_frontend(self) -> MicroFrontend:
        """A new stream."""
        return PlainMicroFrontend()

    def _prepare(self, layout: Layout, height: int, width: int, target: Target) -> Fit:
        check_picture(layout, height, width)
        check_target(target)
        how = resize(layout, height, width, target)
        scale, bias = affine(target)
        pad = _stored(target.pad * scale + bias, target)
        top, left, rows, columns = how.region
        scale32, bias32 = scale.astype(np.float32), bias.astype(np.float32)

        def run(pixels: _Bytes, out: NDArray[Any]) -> None:
            tensor = out.reshape(target.height, target.width, target.channels)
            if (rows, columns) != tensor.shape[:2]:
                tensor[...] = pad
            values = _colours(layout, target, how, pixels)
            values *= scale32
            values += bias32
            tensor[top : top + rows, left : left + columns] = _stored(values, target)

        return Fit(how.placement, layout.shape(height, width), shapes(target), run)

    def _anchored(self, anchors: Floats, columns: int, classes: int) -> Anchored:
        return _PlainAnchored(anchors, columns, classes)

    def _top_k(self, scores: Floats, k: int) -> Indices:
        return np.argsort(-scores, kind="stable")[:k]

    def _softmax(self, logits: Floats) -> Floats:
        with np.errstate(over="ignore"):
            powers = _exp(logits - logits.max(axis=-1, keepdims=True))
        shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
        return shares

    def _sigmoid(self, logits: Floats) -> Floats:
        return np.float32(1) / (np.float32(1) + _exp(-logits))

    def _dequantise(self, raw: NDArray[Any], scale: float, zero_point: int) -> Floats:
        return (raw.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)

    def _all_finite(self, x: Floats) -> bool:
        return bool(np.isfinite(x).all())


class _PlainAnchored(Anchored):
    def _read(
        self, raw: Floats, logits: Floats, least: float, iou_threshold: float, results_max: int
    ) -> Floats:
        raw, logits = raw.reshape(-1, self._columns), logits.reshape(-1, self._classes)
        if not (np.isfinite(raw).all() and np.isfinite(logits).all()):
            raise NotFinite
        best = logits.max(axis=1)
        likely = (best >= np.float32(least)).nonzero()[0]
        likely = likely[np.argsort(-best[likely], kind="stable")[:CANDIDATES_MAX]]
        raw, middles, half = raw[likely], self._anchors[likely], raw[likely, 2:4] * np.float32(0.5)
        kinds = logits[likely].argmax(axis=1)
        middle = raw[:, 0:2] + middles
        points = raw[:, 4:] + np.resize(middles.T, (raw.shape[1] - 4, len(raw))).T
        rows = np.column_stack((kinds, best[likely], middle - half, middle + half, points)).astype(np.float32)
        return rows[_suppressed(rows[:, 2:6], kinds, iou_threshold, results_max)]


def _suppressed(corners: Floats, kinds: Indices, iou_threshold: float, results_max: int) -> list[int]:
    """Which of the boxes, surest first, stay."""
    x0, y0, x1, y1 = corners.T
    area = (x1 - x0) * (y1 - y0)
    zero, threshold = np.float32(0), np.float32(iou_threshold)
    order = np.arange(len(corners))
    kept: list[int] = []
    while order.size and len(kept) < results_max:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        across = np.maximum(np.minimum(x1[first], x1[rest]) - np.maximum(x0[first], x0[rest]), zero)
        down = np.maximum(np.minimum(y1[first], y1[rest]) - np.maximum(y0[first], y0[rest]), zero)
        shared = across * down
        over = shared > threshold * (area[first] + area[rest] - shared)
        order = rest[~(over & (kinds[rest] == kinds[first]))]
    return kept


def _exp(x: Floats) -> Floats:
    return np.exp(np.clip(x, -_EXP_MAX, _EXP_MAX))


def _stored(values: NDArray[Any], target: Target) -> NDArray[Any]:
    """Normalised values as the tensor holds them."""
    return values.astype(np.float32) if target.dtype == np.float32 else quantised(values, target.dtype)


def _bilinear(plane: _Bytes, y: Axis, x: Axis) -> Floats:
    """A plane (h, w, c) resampled, float32 (rows, columns, c)."""
    share = np.repeat(x.share, plane.shape[2])
    above, below = (
        _towards(_columns(lines, x.low), _columns(lines, x.high), share)
        for lines in (np.ascontiguousarray(plane[y.low]), np.ascontiguousarray(plane[y.high]))
    )
    return _towards(above, below, y.share[:, None]).reshape(y.share.size, x.share.size, -1)


def _columns(lines: _Bytes, index: NDArray[np.int64]) -> Floats:
    """Some pixels of every line, float32 (rows, columns * c): taken whole, which is twice as quick as by channel."""
    rows, width, channels = lines.shape
    pixels = lines.view(f"V{channels}").reshape(rows, width).take(index, axis=1)
    return pixels.view(np.uint8).reshape(rows, -1).astype(np.float32)


def _towards(a: Floats, b: Floats, share: Floats) -> Floats:
    """A moved towards b, in place."""
    b -= a
    b *= share
    a += b
    return a


def _colours(layout: Layout, target: Target, how: Resize, pixels: _Bytes) -> Floats:
    """The picture resized and in the target's channels, 0 to 255."""
    if layout in {Layout.NV12, Layout.YUYV}:
        return _from_yuv(layout, target, how, pixels)
    packed = _bilinear(pixels.reshape(*pixels.shape[:2], -1), how.y, how.x)
    if layout is Layout.GRAY:
        return np.repeat(packed, target.channels, axis=2)
    rgb = packed[..., 2::-1] if layout is Layout.BGR else packed[..., :3]
    if target.colour == "gray":
        grey: Floats = rgb @ np.array(LUMA_WEIGHTS, np.float32)[:, None]
        return grey
    return rgb[..., ::-1].copy() if target.colour == "bgr" else np.ascontiguousarray(rgb)


def _from_yuv(layout: Layout, target: Target, how: Resize, pixels: _Bytes) -> Floats:
    luma, chroma = _planes(layout, pixels)
    y = (_bilinear(luma, how.y, how.x)[..., 0] - image.BLACK) * image.LUMA_GAIN
    if how.chroma_y is None or how.chroma_x is None:
        return y.clip(0, 255)[..., None]
    u, v = np.moveaxis(_bilinear(chroma, how.chroma_y, how.chroma_x) - image.MIDDLE, 2, 0)
    rgb = [y + image.V_RED * v, y - image.U_GREEN * u - image.V_GREEN * v, y + image.U_BLUE * u]
    return np.stack(rgb[::-1] if target.colour == "bgr" else rgb, axis=2).clip(0, 255)


def _planes(layout: Layout, pixels: _Bytes) -> tuple[_Bytes, _Bytes]:
    """Luma (h, w, 1) and chroma (h or h / 2, w / 2, 2)."""
    if layout is Layout.YUYV:
        height, width, _ = pixels.shape
        return pixels[..., :1], pixels.reshape(height, width // 2, 4)[..., 1::2]
    height, width = pixels.shape[0] * 2 // 3, pixels.shape[1]
    return pixels[:height, :, None], pixels[height:].reshape(height // 2, width // 2, 2)
