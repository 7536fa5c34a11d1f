"""Kernels that turn a picture into an input tensor in one pass: convert, resize, normalise, quantise.

Every output pixel is read from its four neighbours and written once. A colour is taken as four bytes, the
fourth being the next pixel's first, so that one vector operation serves all its channels, and written as four
floats, the fourth being overwritten by the next pixel. `ints[WIDE]` columns from the left may be handled so;
the rest, where a fourth byte or float may not exist, go channel by channel.

Grey and YUV have no such groups: there two rows are blended into one of floats, from which each column is taken.

`ints` and `floats` are a plan made by `plans.py`: a header with the slots named below, then the tables. `scratch`
holds a row as luma and chroma, a row as the tensor wants it before quantising, and the blended rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edged.inference.kernels.abi import F32, I64, U8, Answer, Number, kernel

# Slots of `ints`
KIND, ROWS, COLUMNS, TOP, LEFT, HEIGHT, WIDTH, CHANNELS, WIDE, SWAP, FLIP, ROW, CHROMA_ROW, V_AFTER_U = range(
    14
)
# then y0 y1 (ROWS each), where the neighbours' rows begin in the picture; x0 x1 (COLUMNS each), where the neighbours
# begin in their row. For YUV the same for chroma; its row of CHROMA_ROW bytes is put behind luma's of ROW bytes (in
# YUYV they are one).
INTS_HEAD = 14

# Slots of `floats`: four of each, one a channel and one to fill a vector
SCALE, BIAS, PAD, WEIGHT = 0, 4, 8, 12
# then fy (ROWS), fx (COLUMNS): the second neighbour's share; for YUV the same for chroma
FLOATS_HEAD = 16

# Values of KIND
COLOUR, GREY_OF_COLOUR, MONO, YUV, LUMA = range(5)

_ZERO = np.float32(0)
_ONE = np.float32(1)
_MAX = np.float32(255)
BLACK = np.float32(16)
MIDDLE = np.float32(128)
# ITU-R BT.601, limited range
LUMA_GAIN = np.float32(255 / 219)
V_RED = np.float32(255 / 224 * 1.402)
U_GREEN = np.float32(255 / 224 * 1.772 * 0.114 / 0.587)
V_GREEN = np.float32(255 / 224 * 1.402 * 0.299 / 0.587)
U_BLUE = np.float32(255 / 224 * 1.772)


def lerp4(a: Number, b: Number, c: Number, d: Number, f: Number, fy: Number) -> Number:
    """Between a and b by f, between c and d by f, between those two by fy."""
    g = _ONE - f
    return (np.float32(a) * g + np.float32(b) * f) * (_ONE - fy) + (
        np.float32(c) * g + np.float32(d) * f
    ) * fy


def lerp_lanes(
    src: U8, p: int, q: int, r: int, s: int, f: Number, fy: Number, floats: F32, swap: int, line: F32, o: int
) -> None:
    """Four bytes from each of four places to four normalised floats; `swap` exchanges the first and third.

    `lowering.py` compiles this to vector instructions; what stands here is what they mean.
    """
    for lane in range(4):
        c = 2 - lane if swap and lane < 3 else lane
        value = lerp4(src[p + c], src[q + c], src[r + c], src[s + c], f, fy)
        line[o + lane] = value * floats[SCALE + lane] + floats[BIAS + lane]


def colour_lanes(
    src: U8, ints: I64, floats: F32, i: int, start: int, end: int, swap: int, line: F32, at: int
) -> None:
    """Columns `start` to `end` of a row of packed colour, four bytes at a time."""
    rows, columns = ints[ROWS], ints[COLUMNS]
    top, bottom, fy = ints[INTS_HEAD + i], ints[INTS_HEAD + rows + i], floats[FLOATS_HEAD + i]
    xs = INTS_HEAD + 2 * rows
    for j in range(start, end):
        x0, x1, f = ints[xs + j], ints[xs + columns + j], floats[FLOATS_HEAD + rows + j]
        lerp_lanes(src, top + x0, top + x1, bottom + x0, bottom + x1, f, fy, floats, swap, line, at + 3 * j)


def colour_line(src: U8, ints: I64, floats: F32, i: int, line: F32, at: int) -> None:
    """One row from packed colour (3 or 4 bytes a pixel) to three channels."""
    rows, columns, wide, swap = ints[ROWS], ints[COLUMNS], ints[WIDE], ints[SWAP]
    if swap:
        colour_lanes(src, ints, floats, i, 0, wide, 1, line, at)
    else:
        colour_lanes(src, ints, floats, i, 0, wide, 0, line, at)
    top, bottom, fy = ints[INTS_HEAD + i], ints[INTS_HEAD + rows + i], floats[FLOATS_HEAD + i]
    xs = INTS_HEAD + 2 * rows
    for j in range(wide, columns):
        x0, x1, f = ints[xs + j], ints[xs + columns + j], floats[FLOATS_HEAD + rows + j]
        p, q, r, s = top + x0, top + x1, bottom + x0, bottom + x1
        for lane in range(3):
            c = 2 - lane if swap else lane
            value = lerp4(src[p + c], src[q + c], src[r + c], src[s + c], f, fy)
            line[at + 3 * j + lane] = value * floats[SCALE + lane] + floats[BIAS + lane]


def grey_of_colour_line(src: U8, ints: I64, floats: F32, i: int, line: F32, at: int) -> None:
    """One row from packed colour to its luma, weighed after the resize."""
    rows, columns = ints[ROWS], ints[COLUMNS]
    top, bottom = ints[INTS_HEAD + i], ints[INTS_HEAD + rows + i]
    xs = INTS_HEAD + 2 * rows
    w0, w1, w2 = floats[WEIGHT], floats[WEIGHT + 1], floats[WEIGHT + 2]
    s, b, fy = floats[SCALE], floats[BIAS], floats[FLOATS_HEAD + i]
    for j in range(columns):
        x0, x1, f = ints[xs + j], ints[xs + columns + j], floats[FLOATS_HEAD + rows + j]
        p, q, r, t = top + x0, top + x1, bottom + x0, bottom + x1
        c0 = lerp4(src[p], src[q], src[r], src[t], f, fy)
        c1 = lerp4(src[p + 1], src[q + 1], src[r + 1], src[t + 1], f, fy)
        c2 = lerp4(src[p + 2], src[q + 2], src[r + 2], src[t + 2], f, fy)
        line[at + j] = (c0 * w0 + c1 * w1 + c2 * w2) * s + b


def blend_rows(src: U8, top: int, bottom: int, count: int, fy: Number, scratch: F32, at: int) -> None:
    """Two rows of `count` bytes as one of floats."""
    rest = _ONE - fy
    for k in range(count):
        scratch[at + k] = np.float32(src[top + k]) * rest + np.float32(src[bottom + k]) * fy


def take_columns(
    scratch: F32, row: int, ints: I64, xs: int, floats: F32, fxs: int, columns: int, at: int
) -> None:
    """Every output column of a blended row that begins at `row`, its neighbours at `xs`, their shares at `fxs`."""
    for j in range(columns):
        f = floats[fxs + j]
        scratch[at + j] = scratch[row + ints[xs + j]] * (_ONE - f) + scratch[row + ints[xs + columns + j]] * f


def luma_line(src: U8, ints: I64, floats: F32, i: int, scratch: F32, row: int) -> None:
    """One row of grey, or of YUV's luma, resized, to the front of `scratch`; the blended row stays at `row`."""
    rows, columns = ints[ROWS], ints[COLUMNS]
    top, bottom = ints[INTS_HEAD + i], ints[INTS_HEAD + rows + i]
    blend_rows(src, top, bottom, ints[ROW], floats[FLOATS_HEAD + i], scratch, row)
    take_columns(scratch, row, ints, INTS_HEAD + 2 * rows, floats, FLOATS_HEAD + rows, columns, 0)


def mono_line(src: U8, ints: I64, floats: F32, i: int, scratch: F32, line: F32, at: int) -> None:
    """One row of grey, or of YUV's luma, to one channel or to three equal ones."""
    columns, channels = ints[COLUMNS], ints[CHANNELS]
    luma_line(src, ints, floats, i, scratch, 6 * columns + 1)
    if ints[KIND] == LUMA:
        for j in range(columns):
            scratch[j] = min(max((scratch[j] - BLACK) * LUMA_GAIN, _ZERO), _MAX)
    for c in range(channels):
        s, b = floats[SCALE + c], floats[BIAS + c]
        for j in range(columns):
            line[at + channels * j + c] = scratch[j] * s + b


def yuv_line(src: U8, ints: I64, floats: F32, i: int, scratch: F32, line: F32, at: int) -> None:
    """One row from NV12 or YUYV to three channels: luma and chroma resized, then converted."""
    rows, columns = ints[ROWS], ints[COLUMNS]
    row, cys = 6 * columns + 1, INTS_HEAD + 2 * rows + 2 * columns
    cxs, cfys = cys + 2 * rows, FLOATS_HEAD + rows + columns
    us, vs = columns, 2 * columns
    luma_line(src, ints, floats, i, scratch, row)
    blend_rows(
        src, ints[cys + i], ints[cys + rows + i], ints[CHROMA_ROW], floats[cfys + i], scratch, row + ints[ROW]
    )
    take_columns(scratch, row, ints, cxs, floats, cfys + rows, columns, us)
    take_columns(scratch, row + ints[V_AFTER_U], ints, cxs, floats, cfys + rows, columns, vs)
    s0, s1, s2 = floats[SCALE], floats[SCALE + 1], floats[SCALE + 2]
    b0, b1, b2 = floats[BIAS], floats[BIAS + 1], floats[BIAS + 2]
    swap = ints[SWAP] != 0
    for j in range(columns):
        y = (scratch[j] - BLACK) * LUMA_GAIN
        u = scratch[us + j] - MIDDLE
        v = scratch[vs + j] - MIDDLE
        red = min(max(y + V_RED * v, _ZERO), _MAX)
        green = min(max(y - U_GREEN * u - V_GREEN * v, _ZERO), _MAX)
        blue = min(max(y + U_BLUE * u, _ZERO), _MAX)
        o = at + 3 * j
        line[o] = (blue if swap else red) * s0 + b0
        line[o + 1] = green * s1 + b1
        line[o + 2] = (red if swap else blue) * s2 + b2


def any_line(src: U8, ints: I64, floats: F32, i: int, scratch: F32, line: F32, at: int) -> None:
    """One row of whatever the plan says, normalised, into `line` from `at`."""
    kind = ints[KIND]
    if kind == COLOUR:
        colour_line(src, ints, floats, i, line, at)
    elif kind == GREY_OF_COLOUR:
        grey_of_colour_line(src, ints, floats, i, line, at)
    elif kind == YUV:
        yuv_line(src, ints, floats, i, scratch, line, at)
    else:
        mono_line(src, ints, floats, i, scratch, line, at)


def pad(out: Any, channels: int, start: int, end: int, first: Number, second: Number, third: Number) -> None:
    """The border's colour into pixels `start` to `end`."""
    if channels == 1:
        for k in range(start, end):
            out[k] = first
    else:
        for k in range(start, end):
            out[3 * k] = first
            out[3 * k + 1] = second
            out[3 * k + 2] = third


def fit_f32(src: U8, out: F32, ints: I64, floats: F32, scratch: F32) -> Answer:
    """Fit `src` into `out`, a float32 tensor."""
    rows, columns, channels = ints[ROWS], ints[COLUMNS], ints[CHANNELS]
    top, left, width = ints[TOP], ints[LEFT], ints[WIDTH]
    p0, p1, p2 = floats[PAD], floats[PAD + 1], floats[PAD + 2]
    pad(out, channels, 0, top * width + left, p0, p1, p2)
    for i in range(rows):
        start = (top + i) * width + left
        any_line(src, ints, floats, i, scratch, out, start * channels)
        end = start + width if i < rows - 1 else ints[HEIGHT] * width
        pad(out, channels, start + columns, end, p0, p1, p2)
    return 0


def fit_u8(src: U8, out: U8, ints: I64, floats: F32, scratch: F32) -> Answer:
    """Fit `src` into `out`, 8 bits wide: values biased to 0..255 and half up, the top bit flipped for int8."""
    rows, columns, channels = ints[ROWS], ints[COLUMNS], ints[CHANNELS]
    top, left, width, flip = ints[TOP], ints[LEFT], ints[WIDTH], np.uint8(ints[FLIP])
    p0 = np.uint8(np.int32(floats[PAD])) ^ flip
    p1 = np.uint8(np.int32(floats[PAD + 1])) ^ flip
    p2 = np.uint8(np.int32(floats[PAD + 2])) ^ flip
    line = 3 * columns
    pad(out, channels, 0, top * width + left, p0, p1, p2)
    for i in range(rows):
        start = (top + i) * width + left
        any_line(src, ints, floats, i, scratch, scratch, line)
        at = start * channels
        for k in range(columns * channels):
            value = min(max(scratch[line + k], _ZERO), _MAX)
            out[at + k] = np.uint8(np.int32(value)) ^ flip
        end = start + width if i < rows - 1 else ints[HEIGHT] * width
        pad(out, channels, start + columns, end, p0, p1, p2)
    return 0


HELPERS = (
    lerp4,
    colour_lanes,
    colour_line,
    grey_of_colour_line,
    blend_rows,
    take_columns,
    luma_line,
    mono_line,
    yuv_line,
    any_line,
    pad,
)
KERNELS = (kernel(fit_f32, contract=True), kernel(fit_u8, contract=True))
