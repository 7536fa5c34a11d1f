"""The kernels through a table of compiled functions, whoever compiled them. A call releases the GIL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edged.inference.kernels import audio
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
from edged.inference.kernels.frontend import MicroFrontend, tables
from edged.inference.kernels.plans import Target, plan
from edged.inference.values import Layout

Functions = Mapping[str, Any]
"""By kernel name: ctypes functions that take addresses as ints."""


class CompiledKernels(Kernels):
    """A backend over compiled functions, which stay loaded as long as the process lives."""

    def __init__(self, name: Literal["native", "jit"], functions: Functions) -> None:
        super().__init__()
        self.name = name
        self._functions = functions

    def micro_frontend(self) -> MicroFrontend:
        """A new stream."""
        return _CompiledMicroFrontend(self._functions["micro_frontend"])

    def _prepare(self, layout: Layout, height: int, width: int, target: Target) -> Fit:
        tables = plan(layout, height, width, target)
        addresses = _address(tables.ints), _address(tables.floats), _address(tables.scratch)
        fit = self._functions["fit_f32" if target.dtype == np.float32 else "fit_u8"]

        def run(pixels: NDArray[np.uint8], out: NDArray[Any], _alive: object = tables) -> None:
            fit(_address(pixels), _address(out), *addresses)

        return Fit(tables.placement, layout.shape(height, width), shapes(target), run)

    def _anchored(self, anchors: Floats, columns: int, classes: int) -> Anchored:
        return _CompiledAnchored(self._functions["anchored"], anchors, columns, classes)

    def _top_k(self, scores: Floats, k: int) -> Indices:
        best = np.empty(k, np.int64)
        self._functions["top_k"](_address(scores), scores.size, k, _address(best))
        return best.astype(np.intp, copy=False)

    def _softmax(self, logits: Floats) -> Floats:
        out, columns = np.empty_like(logits), logits.shape[-1]
        self._functions["softmax"](_address(logits), _address(out), logits.size // columns, columns)
        return out

    def _sigmoid(self, logits: Floats) -> Floats:
        out = np.empty_like(logits)
        self._functions["sigmoid"](_address(logits), _address(out), logits.size)
        return out

    def _dequantise(self, raw: NDArray[Any], scale: float, zero_point: int) -> Floats:
        out = np.empty(raw.shape, np.float32)
        name = "dequantise_i8" if raw.dtype == np.int8 else "dequantise_u8"
        self._functions[name](_address(raw), _address(out), raw.size, scale, zero_point)
        return out

    def _all_finite(self, x: Floats) -> bool:
        return bool(self._functions["all_finite"](_address(x), x.size))


class _CompiledAnchored(Anchored):
    def __init__(self, run: Any, anchors: Floats, columns: int, classes: int) -> None:
        super().__init__(anchors, columns, classes)
        self._run = run
        self._room = min(len(anchors), CANDIDATES_MAX)
        self._found = np.empty((0, 2 + columns), np.float32)
        self._scratch = [
            np.empty(self._room * each, kind)
            for each, kind in ((1, np.int64), (1, np.int64), (1, np.float32), (4, np.float32), (1, np.uint8))
        ]
        self._anchors_at = _address(anchors)
        self._scratch_at = [_address(array) for array in self._scratch]

    def _read(
        self, raw: Floats, logits: Floats, least: float, iou_threshold: float, results_max: int
    ) -> Floats:
        results_max = min(results_max, self._room)
        if results_max > len(self._found):
            self._found = np.empty((results_max, self._found.shape[1]), np.float32)
        found = self._run(
            _address(raw), _address(logits), self._anchors_at,
            len(self._anchors), self._columns, self._classes, least, iou_threshold, self._room, results_max,
            *self._scratch_at, _address(self._found),
        )  # fmt: skip
        if found < 0:
            raise NotFinite
        return self._found[:found]


class _CompiledMicroFrontend(MicroFrontend):
    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run = run
        self._scratch = np.zeros(audio.SCRATCH, np.int64)

    def _features(self, samples: NDArray[np.int16], rows: int) -> Floats:
        out = np.empty((rows, audio.CHANNELS), np.float32)
        self._run(
            _address(samples),
            rows,
            _address(tables()),
            _address(self._noise),
            _address(self._scratch),
            _address(out),
        )
        return out


def _address(array: NDArray[Any]) -> int:
    """Where the array begins; `array` must outlive the use."""
    address: int = array.__array_interface__["data"][0]
    return address
