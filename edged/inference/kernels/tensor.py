"""Kernels over a tensor's numbers: exponentials, dequantising, the search for NaN, the best k."""

from __future__ import annotations

import numpy as np

from edged.inference.kernels.abi import F32, I8, I64, U8, Answer, Count, Number, Real, kernel

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
# exp by Cody-Waite reduction and a degree-6 polynomial: S. L. Moshier, Cephes, single/expf.c
_LOG2_E = np.float32(1.44269504088896341)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_P0 = np.float32(1.9875691500e-4)
_P1 = np.float32(1.3981999507e-3)
_P2 = np.float32(8.3334519073e-3)
_P3 = np.float32(4.1665795894e-2)
_P4 = np.float32(1.6666665459e-1)
_P5 = np.float32(5.0000001201e-1)
_EXP_MAX = np.float32(87.5)


def exp(x: Number) -> Number:
    """The number e to the x, |x| clipped to 87.5, within 2 units in the last place."""
    x = min(max(x, -_EXP_MAX), _EXP_MAX)
    n = np.int32(x * _LOG2_E + (_HALF if x > _ZERO else -_HALF))
    whole = np.float32(n)
    x = x - whole * _LN2_HIGH - whole * _LN2_LOW
    series = ((((_P0 * x + _P1) * x + _P2) * x + _P3) * x + _P4) * x + _P5
    return (series * x * x + x + _ONE) * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


def softmax(logits: F32, out: F32, rows: Count, columns: Count) -> Answer:
    """Each row of `logits` as shares of 1."""
    for i in range(rows):
        at = i * columns
        top = logits[at]
        for j in range(columns):
            top = max(top, logits[at + j])
        total = _ZERO
        for j in range(columns):
            out[at + j] = exp(logits[at + j] - top)
        for j in range(columns):
            total += out[at + j]
        for j in range(columns):
            out[at + j] /= total
    return 0


def sigmoid(logits: F32, out: F32, count: Count) -> Answer:
    """1 / (1 + e**-x) of each number."""
    for i in range(count):
        out[i] = _ONE / (_ONE + exp(-logits[i]))
    return 0


def dequantise_i8(raw: I8, out: F32, count: Count, scale: Real, zero_point: Real) -> Answer:
    """(raw - zero_point) * scale of each number."""
    for i in range(count):
        out[i] = (np.float32(raw[i]) - zero_point) * scale
    return 0


def dequantise_u8(raw: U8, out: F32, count: Count, scale: Real, zero_point: Real) -> Answer:
    """(raw - zero_point) * scale of each number."""
    for i in range(count):
        out[i] = (np.float32(raw[i]) - zero_point) * scale
    return 0


def finite(values: F32, count: Number) -> Number:
    """1 where no number is NaN or infinite, else 0."""
    bad = 0
    for i in range(count):
        bad |= 0 if values[i] - values[i] == _ZERO else 1
    return 1 - bad


def all_finite(values: F32, count: Count) -> Answer:
    """1 where no number is NaN or infinite, else 0."""
    return 1 if finite(values, count) else 0


def top_k(scores: F32, count: Count, k: Count, best: I64) -> Answer:
    """Indices of the `k` (at most `count`) highest scores, falling, ties by index; answers how many."""
    found = 0
    for i in range(count):
        if found == k and not scores[i] > scores[best[k - 1]]:
            continue
        place = found if found < k else k - 1
        found = place + 1
        while place > 0 and scores[i] > scores[best[place - 1]]:
            best[place] = best[place - 1]
            place -= 1
        best[place] = i
    return found


HELPERS = (exp, finite)
KERNELS = (
    kernel(softmax, contract=True),
    kernel(sigmoid, contract=True),
    kernel(dequantise_i8),
    kernel(dequantise_u8),
    kernel(all_finite),
    kernel(top_k),
)
