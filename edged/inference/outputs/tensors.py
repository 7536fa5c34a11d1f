"""Between real values and what a tensor stores. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadArgument, BadOutput

if TYPE_CHECKING:
    from edged.inference.kernels.seam import Kernels
    from edged.inference.runtime import TensorSpec


def stored(values: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Real values as the tensor stores them: q = round(x / scale) + zero_point, saturated."""
    if spec.dtype.kind == "f":
        return np.asarray(values, spec.dtype)
    if spec.dtype.kind == "b":
        return np.asarray(values != 0)
    limits = np.iinfo(spec.dtype)
    scaled = np.rint(values.astype(np.float64) / (spec.scale or 1.0)) + spec.zero_point
    saturated: NDArray[np.float64] = np.clip(scaled, limits.min, limits.max)
    return saturated.astype(spec.dtype)


def real(raw: NDArray[Any], spec: TensorSpec, model: str, kernels: Kernels) -> NDArray[np.float32]:
    """An output tensor as float32; raises BadOutput where it is not finite."""
    values = floats(raw, spec, kernels)
    if raw.dtype.kind == "f" and not kernels.all_finite(values):
        raise BadOutput(f"model {model}: output tensor {spec.name!r} holds NaN or infinity")
    return values


def floats(raw: NDArray[Any], spec: TensorSpec, kernels: Kernels) -> NDArray[np.float32]:
    """An output tensor as float32, whatever it holds."""
    if raw.dtype.kind == "f":
        return raw.astype(np.float32, copy=False)
    if spec.scale and raw.dtype in (np.int8, np.uint8):
        return kernels.dequantise(raw, spec.scale, spec.zero_point)
    return (raw.astype(np.float32) - spec.zero_point) * np.float32(spec.scale or 1.0)


def numbers(values: Mapping[str, float] | Sequence[float], names: Sequence[str]) -> NDArray[np.float64]:
    """Named or ordered numbers, all of them and finite; raises BadArgument naming what is wrong."""
    if isinstance(values, Mapping):
        if missing := [name for name in names if name not in values]:
            raise BadArgument(f"$.values.{missing[0]}: required, and missing ({len(missing)} in all)")
        if unknown := sorted(values.keys() - set(names)):
            raise BadArgument(f"$.values.{unknown[0]}: unknown; known here: {', '.join(names)}")
        ordered = [values[name] for name in names]
    else:
        ordered = list(values)
    return flat(ordered, len(names), "$.values")


def flat(values: Sequence[float], size: int, path: str) -> NDArray[np.float64]:
    """`size` finite numbers; raises BadArgument whose message starts with `path`."""
    if len(values) != size:
        raise BadArgument(f"{path}: expected {size} numbers, got {len(values)}")
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        raise BadArgument(f"{path}: expected numbers: {exc}") from exc
    if array.shape != (size,):
        raise BadArgument(f"{path}: expected a flat list of numbers")
    if not np.isfinite(array).all():
        raise BadArgument(
            f"{path}[{int(np.flatnonzero(~np.isfinite(array))[0])}]: NaN and infinity are no readings"
        )
    return array
