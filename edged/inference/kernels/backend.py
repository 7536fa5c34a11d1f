"""What every backend offers: checked arguments, cached plans, equal results."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadArgument, BadPicture
from edged.inference.kernels.frontend import MicroFrontend
from edged.inference.kernels.plans import Target
from edged.inference.values import Layout, Picture, Placement

_PLANS_A_THREAD = 16

CANDIDATES_MAX = 1000
"""Boxes that enter suppression, surest first: it is quadratic, and a caller sets the threshold."""

_UINT8 = np.dtype(np.uint8)

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


class Fit(NamedTuple):
    """How pictures of one layout and size get into one target."""

    placement: Placement
    source_shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """The shapes an output may have."""
    run: Callable[[NDArray[np.uint8], NDArray[Any]], None]


class NotFinite(Exception):
    """A tensor holds NaN or infinity."""


class Anchored(ABC):
    """Reads boxes off an SSD's raw outputs, within one set of anchors."""

    def __init__(self, anchors: Floats, columns: int, classes: int) -> None:
        self._anchors = anchors
        self._columns, self._classes = columns, classes
        self._sizes = len(anchors) * columns, len(anchors) * classes

    def __call__(
        self, raw: Floats, logits: Floats, least: float, iou_threshold: float, results_max: int
    ) -> Floats:
        """Rows of class, logit, x0, y0, x1, y1 and keypoints in input pixels, surest first, ties by anchor.

        A box goes when its IoU with a kept one of its class exceeds the threshold. Of those whose best logit
        reaches `least`, the surest `CANDIDATES_MAX` are considered. The rows are good until the next call.
        Raises NotFinite.
        """
        raw, logits = _flat(raw), _flat(logits)
        if (raw.size, logits.size) != self._sizes:
            raise BadArgument(f"expected {self._sizes} numbers, not {(raw.size, logits.size)}")
        return self._read(raw, logits, least, iou_threshold, results_max)

    @abstractmethod
    def _read(
        self, raw: Floats, logits: Floats, least: float, iou_threshold: float, results_max: int
    ) -> Floats:
        """Likewise, of as many numbers as there should be, in whatever shape."""


class _Plans(threading.local):
    """Each thread's most recent plans; a plan holds scratch, so no two threads may share one."""

    def __init__(self) -> None:
        self.recent: OrderedDict[tuple[Layout, int, int, Target], Fit] = OrderedDict()


class Kernels(ABC):
    """The arithmetic of the inference room. Safe to share between threads."""

    name: Literal["native", "jit", "numpy"]

    def __init__(self) -> None:
        self._plans = _Plans()

    def fit(self, picture: Picture, target: Target, out: NDArray[Any]) -> Placement:
        """Fit `picture` into `out`, C-contiguous (height, width, 3), or (height, width[, 1]) for grey.

        Bilinear with half-pixel centres, edges repeated; no smoothing when shrinking. YUV is resized, then
        converted (BT.601 limited range, clipped). 8-bit results are rounded half up and clipped.
        Raises BadPicture where the pixels are not what the picture says, BadArgument for target or out.
        """
        layout, height, width, pixels = picture
        how = self._plan(layout, height, width, target)
        if pixels.shape != how.source_shape or pixels.dtype != _UINT8 or not pixels.flags.c_contiguous:
            raise BadPicture(
                f"expected C-contiguous uint8 {how.source_shape} for {layout.value} {width}x{height}, "
                f"not {pixels.dtype} {pixels.shape}{'' if pixels.flags.c_contiguous else ' with gaps'}"
            )
        if out.shape not in how.shapes or out.dtype != target.dtype or not out.flags.carray:
            raise BadArgument(
                f"out: expected writeable C-contiguous {target.dtype} {how.shapes[0]}, not {out.dtype} {out.shape}"
            )
        how.run(pixels, out)
        return how.placement

    def anchored(self, anchors: Floats, columns: int, classes: int) -> Anchored:
        """A reader of SSD outputs over these anchors (N, 2), middles in input pixels; it belongs to one thread.

        A raw box has `columns` numbers: middle and size, then keypoints, all but the size relative to its anchor.
        """
        if anchors.ndim != 2 or anchors.shape[1] != 2 or columns < 4 or classes < 1:
            raise BadArgument(
                f"anchors: expected (N, 2) beside at least 4 columns and 1 class, not {anchors.shape}"
            )
        return self._anchored(_flat(anchors), columns, classes)

    def top_k(self, scores: Floats, k: int) -> Indices:
        """Indices of the `k` highest of scores (N,), falling, ties by index. Scores must be finite."""
        if scores.ndim != 1:
            raise BadArgument(f"scores: expected (N,), not {scores.shape}")
        k = min(k, scores.size)
        return self._top_k(_flat(scores), k) if k > 0 else np.zeros(0, np.intp)

    def softmax(self, logits: Floats) -> Floats:
        """Shares of 1 along the last axis."""
        if not logits.ndim or not logits.size:
            return np.ones(logits.shape, np.float32)
        return self._softmax(_flat(logits))

    def sigmoid(self, logits: Floats) -> Floats:
        """1 / (1 + e**-x) of each number."""
        return self._sigmoid(_flat(logits))

    def dequantise(self, raw: NDArray[Any], scale: float, zero_point: int) -> Floats:
        """(raw - zero_point) * scale of int8 or uint8 numbers; float32 comes back as it is."""
        if raw.dtype == np.float32:
            return _flat(raw)
        if raw.dtype.name not in {"int8", "uint8"}:
            raise BadArgument(f"raw: expected int8, uint8 or float32, not {raw.dtype}")
        return self._dequantise(np.ascontiguousarray(raw), scale, zero_point)

    def all_finite(self, x: Floats) -> bool:
        """Whether no number is NaN or infinite."""
        return self._all_finite(_flat(x))

    def error(self) -> float:
        """Largest difference from what numpy makes of a small picture and a few scores; within 1e-5 all is well."""
        from edged.inference.kernels.plain import PlainKernels  # noqa: PLC0415 - it is one of these

        rng, plain = np.random.default_rng(1), PlainKernels()
        picture = Picture(Layout.RGB, 48, 64, rng.integers(0, 256, (48, 64, 3), np.uint8))
        target = Target(32, 32, "rgb", "letterbox", 0.0, (127.5,), (127.5,), np.dtype(np.float32), 0.0, 0)
        logits = rng.normal(0, 4, (4, 10)).astype(np.float32)
        mine, theirs = (np.empty((32, 32, 3), np.float32) for _ in range(2))
        self.fit(picture, target, mine)
        plain.fit(picture, target, theirs)
        pairs = ((mine, theirs), (self.softmax(logits), plain.softmax(logits)))
        return max(float(np.abs(a - b).max()) for a, b in pairs)

    @abstractmethod
    def micro_frontend(self) -> MicroFrontend:
        """A new stream through TensorFlow Lite Micro's audio front end."""

    def _plan(self, layout: Layout, height: int, width: int, target: Target) -> Fit:
        recent, key = self._plans.recent, (layout, height, width, target)
        how = recent.get(key)
        if how is None:
            how = recent[key] = self._prepare(layout, height, width, target)
            if len(recent) > _PLANS_A_THREAD:
                recent.popitem(last=False)
        else:
            recent.move_to_end(key)
        return how

    @abstractmethod
    def _prepare(self, layout: Layout, height: int, width: int, target: Target) -> Fit: ...
    @abstractmethod
    def _anchored(self, anchors: Floats, columns: int, classes: int) -> Anchored: ...
    @abstractmethod
    def _top_k(self, scores: Floats, k: int) -> Indices: ...
    @abstractmethod
    def _softmax(self, logits: Floats) -> Floats: ...
    @abstractmethod
    def _sigmoid(self, logits: Floats) -> Floats: ...
    @abstractmethod
    def _dequantise(self, raw: NDArray[Any], scale: float, zero_point: int) -> Floats: ...
    @abstractmethod
    def _all_finite(self, x: Floats) -> bool: ...


def shapes(target: Target) -> tuple[tuple[int, ...], ...]:
    """The shapes that an output of this target may have."""
    size = (target.height, target.width)
    return ((*size, 1), size) if target.channels == 1 else ((*size, 3),)


def _flat(x: NDArray[Any]) -> Floats:
    """`x` as contiguous float32, itself where it is that already."""
    return np.ascontiguousarray(x, np.float32)
