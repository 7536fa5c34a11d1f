"""What has to be known to fit a picture of one size into a tensor, worked out once: placement and tables."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadArgument, BadPicture
from edged.inference.kernels import image
from edged.inference.values import Layout, Placement


class Target(NamedTuple):
    """An image tensor and what it wants: x = (pixel - mean) / std, then x / scale + zero_point for 8 bits."""

    height: int
    width: int
    colour: Literal["rgb", "bgr", "gray"]
    fit: Literal["stretch", "letterbox", "crop"]
    pad: float
    """The letterbox's border, 0 to 255, before normalisation."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One value for all channels, or one each."""
    dtype: np.dtype[np.generic]
    """float32, int8 or uint8."""
    scale: float
    zero_point: int

    @property
    def channels(self) -> int:
        """Of a pixel."""
        return 1 if self.colour == "gray" else 3


class Axis(NamedTuple):
    """One direction of a resize: output k lies between inputs `low[k]` and `high[k]`, `share[k]` towards the latter."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.float32]


class Affine(NamedTuple):
    """Normalising and quantising as one step, a value each channel: pixel * scale + bias."""

    scale: NDArray[np.float64]
    bias: NDArray[np.float64]


class Region(NamedTuple):
    """The rectangle of the tensor that the picture covers."""

    top: int
    left: int
    rows: int
    columns: int


STEPS = {Layout.RGB: 3, Layout.BGR: 3, Layout.RGBA: 4, Layout.GRAY: 1, Layout.NV12: 1, Layout.YUYV: 2}
"""Bytes from one pixel's first (or luma) byte to the next's."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601, of R, G and B."""

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def check_picture(layout: Layout, height: int, width: int) -> None:
    """Raises BadPicture for a size the layout cannot have."""
    if height < 1 or width < 1:
        raise BadPicture(f"a picture of {width}x{height} has no pixels")
    if layout in {Layout.NV12, Layout.YUYV} and width % 2:
        raise BadPicture(f"{layout.value} needs an even width, not {width}")
    if layout is Layout.NV12 and height % 2:
        raise BadPicture(f"nv12 needs an even height, not {height}")


def check_target(target: Target) -> None:
    """Raises BadArgument for a target that no kernel can fill."""
    if target.height < 1 or target.width < 1:
        raise BadArgument(f"target: {target.width}x{target.height} has no pixels")
    if target.dtype.name not in {"float32", *_RANGES}:
        raise BadArgument(f"target.dtype: expected float32, int8 or uint8, not {target.dtype.name}")
    for name, values in (("mean", target.mean), ("std", target.std)):
        if len(values) not in {1, target.channels}:
            raise BadArgument(f"target.{name}: expected 1 or {target.channels} values, not {len(values)}")
    if not all(std > 0 for std in target.std):
        raise BadArgument("target.std: expected values above 0")
    if target.dtype.name in _RANGES and not target.scale > 0:
        raise BadArgument(f"target.scale: expected a value above 0, not {target.scale}")


def place(height: int, width: int, target: Target) -> tuple[Placement, Region]:
    """Where a picture lands: all of it (stretch, letterbox), or its centre filling the tensor (crop)."""
    scale_y, scale_x = target.height / height, target.width / width
    whole = Region(0, 0, target.height, target.width)
    if target.fit == "stretch":
        return Placement(scale_x, scale_y, 0.0, 0.0), whole
    if target.fit == "crop":
        scale = max(scale_x, scale_y)
        return Placement(
            scale, scale, (target.width - width * scale) / 2, (target.height - height * scale) / 2
        ), whole
    scale = min(scale_x, scale_y)
    rows = min(target.height, max(1, round(height * scale)))
    columns = min(target.width, max(1, round(width * scale)))
    region = Region((target.height - rows) // 2, (target.width - columns) // 2, rows, columns)
    return Placement(columns / width, rows / height, float(region.left), float(region.top)), region


def axis(count: int, first: int, length: int, scale: float, offset: float) -> Axis:
    """Bilinear neighbours of outputs first .. first + count among `length` inputs; pixel centres are at a half."""
    centre = (np.arange(first, first + count) + 0.5 - offset) / scale - 0.5
    centre = np.clip(centre, 0.0, length - 1.0)
    low = np.floor(centre).astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    return Axis(low, high, (centre - low).astype(np.float32))


def affine(target: Target) -> Affine:
    """What turns a pixel of 0 to 255 into the tensor's number (before rounding)."""
    mean = np.broadcast_to(np.asarray(target.mean, np.float64), target.channels)
    std = np.broadcast_to(np.asarray(target.std, np.float64), target.channels)
    if target.dtype.name == "float32":
        return Affine(1 / std, -mean / std)
    return Affine(1 / (std * target.scale), target.zero_point - mean / (std * target.scale))


def quantised(values: NDArray[np.floating[Any]], dtype: np.dtype[np.generic]) -> NDArray[Any]:
    """Values in an 8-bit tensor's steps, rounded half up and clipped to what it can hold."""
    rounded: NDArray[Any] = np.floor(values + 0.5).clip(*_RANGES[dtype.name]).astype(dtype)
    return rounded


class Resize(NamedTuple):
    """A resize: luma (or packed pixel) axes, chroma axes where the layout has a chroma plane, and the region."""

    placement: Placement
    region: Region
    y: Axis
    x: Axis
    chroma_y: Axis | None
    chroma_x: Axis | None


def resize(layout: Layout, height: int, width: int, target: Target) -> Resize:
    """The axes of fitting a picture. Chroma samples lie centred between the luma samples they serve."""
    placement, region = place(height, width, target)
    sx, sy, ox, oy = placement
    top, left, rows, columns = region
    y, x = axis(rows, top, height, sy, oy), axis(columns, left, width, sx, ox)
    if target.colour == "gray" or layout not in {Layout.NV12, Layout.YUYV}:
        return Resize(placement, region, y, x, None, None)
    chroma_x = axis(columns, left, width // 2, sx * 2, ox)
    chroma_y = axis(rows, top, height // 2, sy * 2, oy) if layout is Layout.NV12 else y
    return Resize(placement, region, y, x, chroma_y, chroma_x)


class Plan(NamedTuple):
    """A resize as the image kernels take it (`image.py` names the slots), with the scratch one call needs."""

    placement: Placement
    ints: NDArray[np.int64]
    floats: NDArray[np.float32]
    scratch: NDArray[np.float32]


def plan(layout: Layout, height: int, width: int, target: Target) -> Plan:
    """Tables for `image.fit_f32` or `image.fit_u8`. Raises BadPicture, BadArgument."""
    check_picture(layout, height, width)
    check_target(target)
    how = resize(layout, height, width, target)
    ints = np.concatenate([_ints_head(layout, width, target, how), *_offsets(layout, height, width, how)])
    floats = np.concatenate([_floats_head(layout, target), *_shares(how)]).astype(np.float32)
    blended = 0 if _kind(layout, target) in {image.COLOUR, image.GREY_OF_COLOUR} else 2 * width
    return Plan(how.placement, ints, floats, np.zeros(6 * how.region.columns + 1 + blended, np.float32))


def _kind(layout: Layout, target: Target) -> int:
    gray = target.colour == "gray"
    match layout:
        case Layout.GRAY:
            return image.MONO
        case Layout.NV12 | Layout.YUYV:
            return image.LUMA if gray else image.YUV
        case _:
            return image.GREY_OF_COLOUR if gray else image.COLOUR


def _swap(layout: Layout, target: Target) -> bool:
    return target.colour != "gray" and (layout is Layout.BGR) != (target.colour == "bgr")


def _ints_head(layout: Layout, width: int, target: Target, how: Resize) -> NDArray[np.int64]:
    head = np.zeros(image.INTS_HEAD, np.int64)
    top, left, rows, columns = how.region
    step = STEPS[layout]
    head[image.KIND] = _kind(layout, target)
    head[[image.ROWS, image.COLUMNS, image.TOP, image.LEFT]] = rows, columns, top, left
    head[[image.HEIGHT, image.WIDTH, image.CHANNELS]] = target.height, target.width, target.channels
    readable = int(np.count_nonzero(how.x.high * step + 4 <= width * step))
    head[image.WIDE] = min(readable, columns - 1)
    head[image.SWAP] = _swap(layout, target)
    head[image.FLIP] = 0x80 if target.dtype.name == "int8" else 0
    head[image.ROW] = width * step
    head[image.CHROMA_ROW] = width if layout is Layout.NV12 else 0
    head[image.V_AFTER_U] = 2 if layout is Layout.YUYV else 1
    return head


def _offsets(layout: Layout, height: int, width: int, how: Resize) -> list[NDArray[np.int64]]:
    step = STEPS[layout]
    stride = width * step
    tables = [how.y.low * stride, how.y.high * stride, how.x.low * step, how.x.high * step]
    if how.chroma_x is None or how.chroma_y is None:
        return tables
    if layout is Layout.YUYV:
        return [*tables, tables[0], tables[1], how.chroma_x.low * 4 + 1, how.chroma_x.high * 4 + 1]
    rows = [(height + index) * width for index in (how.chroma_y.low, how.chroma_y.high)]
    return [*tables, *rows, width + how.chroma_x.low * 2, width + how.chroma_x.high * 2]


def _shares(how: Resize) -> list[NDArray[np.float32]]:
    luma = [how.y.share, how.x.share]
    return (
        luma
        if how.chroma_x is None or how.chroma_y is None
        else [*luma, how.chroma_y.share, how.chroma_x.share]
    )


def _floats_head(layout: Layout, target: Target) -> NDArray[np.float64]:
    head = np.zeros(image.FLOATS_HEAD)
    scale, bias = affine(target)
    pad = target.pad * scale + bias
    if target.dtype.name in _RANGES:
        low = _RANGES[target.dtype.name][0]
        bias = bias - low + 0.5
        pad = quantised(pad, target.dtype) - np.float64(low)
    for slot, values in ((image.SCALE, scale), (image.BIAS, bias), (image.PAD, pad)):
        head[slot : slot + target.channels] = values
    weights = LUMA_WEIGHTS[::-1] if layout is Layout.BGR else LUMA_WEIGHTS
    head[image.WEIGHT : image.WEIGHT + 3] = weights
    return head
