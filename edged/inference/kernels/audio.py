"""The kernel of TensorFlow Lite Micro's audio front end, in the fixed point its models were trained on.

16 kHz int16 in, a 30 ms Hann window every 10 ms, 512-point FFT, 40 mel channels of 125 to 7500 Hz, square root,
noise reduction, per-channel gain (PCAN), logarithm. Bit for bit the arithmetic of tensorflow/lite/experimental/
microfrontend/lib and of kissfft's 16-bit build, which it calls; `frontend.py` makes the tables.
"""

from __future__ import annotations

import math

from edged.inference.kernels.abi import F32, I16, I64, Answer, Count, Number, kernel

WINDOW, STEP, CHANNELS = 480, 160, 40
"""Samples of a window (30 ms), samples between windows (10 ms), mel channels."""
POINTS, BINS = 256, 257
"""Complex points of the half-length FFT, and bins of the real one."""
BANDS = CHANNELS + 1

# Where each table begins in `tables`
HANN = 0
COSINE = HANN + WINDOW
SINE = COSINE + POINTS
SPLIT_COSINE = SINE + POINTS
SPLIT_SINE = SPLIT_COSINE + POINTS // 2
ORDER = SPLIT_SINE + POINTS // 2
BAND_OF_BIN = ORDER + POINTS
WEIGHT_OF_BIN = BAND_OF_BIN + BINS
REST_OF_BIN = WEIGHT_OF_BIN + BINS
GAIN = REST_OF_BIN + BINS
LOG = GAIN + 125
TABLES = LOG + 130

# Where each buffer begins in `scratch`
RE, IM = 0, POINTS
POWER = IM + POINTS
BAND = POWER + BINS
SCRATCH = BAND + BANDS + 1

SMOOTHING = (409, 983)
"""Of the noise estimate in even and odd channels: 0.025 and 0.06 of 2**14, rounded down."""
REMAINING = 819
"""Least share of the signal that noise reduction leaves: 0.05 of 2**14."""
NOISE_BITS, SMOOTHING_BITS = 14, 10
SNR_SHIFT, PCAN_BITS, PCAN_OUT_BITS = 6, 12, 6
CORRECTION_BITS = 3
"""log2(512) less half of the filter bank's 12 fractional bits."""
LOG_BITS, LOG_SEGMENT_BITS, LOG_OUT_BITS = 16, 7, 6
LN2 = 45426
"""ln 2 of 2**16."""
QUARTER, HALF = 8191, 16383
"""kissfft's 1/4 and 1/2 of 32767."""
OUT_SCALE = 0.0390625
"""What one step of the 16-bit output means to the models: 10 / 256."""

_SMOOTHING_EVEN, _SMOOTHING_ODD = SMOOTHING
_U32 = 0xFFFFFFFF


def wrap16(x: Number) -> Number:
    """X as a 16-bit integer would hold it."""
    return ((x + 32768) & 65535) - 32768


def round15(x: Number) -> Number:
    """X / 2**15, half up."""
    return (x + 16384) >> 15


def bits(x: Number) -> Number:
    """How many bits x >= 0 takes."""
    n = 0
    while x > 0:
        x >>= 1
        n += 1
    return n


def root(x: Number) -> Number:
    """The square root of 0 <= x < 2**52, to the nearest, but never past 2**16 - 1 for an x of 32 bits."""
    r = int(math.sqrt(float(x)))
    if r * r > x:
        r -= 1
    if x - r * r > r and not (r == 0xFFFF and x <= _U32):
        r += 1
    return r


def window(samples: I16, at: int, tables: I64, scratch: I64) -> Number:
    """480 windowed samples, as large as 16 bits allow, in the FFT's order, even ones real; answers the shift."""
    loudest = 0
    for i in range(WINDOW):
        x = (int(samples[at + i]) * tables[HANN + i]) >> 12
        loudest = max(loudest, x if x >= 0 else (-x if x > -32768 else 0))
    shift = 15 - bits(loudest)
    for k in range(POINTS):
        i = 2 * tables[ORDER + k]
        scratch[RE + k] = 0
        scratch[IM + k] = 0
        if i < WINDOW:
            scratch[RE + k] = wrap16(((int(samples[at + i]) * tables[HANN + i]) >> 12) << shift)
            scratch[IM + k] = wrap16(((int(samples[at + i + 1]) * tables[HANN + i + 1]) >> 12) << shift)
    return shift


def butterflies(scratch: I64, tables: I64, m: int, stride: int) -> None:
    """One radix-4 stage over groups of 4 m points, everything scaled by a quarter."""
    for group in range(0, POINTS, 4 * m):
        for k in range(m):
            a = group + k
            ar, ai = round15(scratch[RE + a] * QUARTER), round15(scratch[IM + a] * QUARTER)
            br, bi = round15(scratch[RE + a + m] * QUARTER), round15(scratch[IM + a + m] * QUARTER)
            cr, ci = round15(scratch[RE + a + 2 * m] * QUARTER), round15(scratch[IM + a + 2 * m] * QUARTER)
            dr, di = round15(scratch[RE + a + 3 * m] * QUARTER), round15(scratch[IM + a + 3 * m] * QUARTER)
            t = k * stride
            wr, wi = tables[COSINE + t], tables[SINE + t]
            br, bi = round15(br * wr - bi * wi), round15(br * wi + bi * wr)
            wr, wi = tables[COSINE + 2 * t], tables[SINE + 2 * t]
            cr, ci = round15(cr * wr - ci * wi), round15(cr * wi + ci * wr)
            wr, wi = tables[COSINE + 3 * t], tables[SINE + 3 * t]
            dr, di = round15(dr * wr - di * wi), round15(dr * wi + di * wr)
            lr, li = ar - cr, ai - ci
            ar, ai = ar + cr, ai + ci
            sr, si = br + dr, bi + di
            tr, ti = br - dr, bi - di
            scratch[RE + a + 2 * m], scratch[IM + a + 2 * m] = wrap16(ar - sr), wrap16(ai - si)
            scratch[RE + a], scratch[IM + a] = wrap16(ar + sr), wrap16(ai + si)
            scratch[RE + a + m], scratch[IM + a + m] = wrap16(lr + ti), wrap16(li - tr)
            scratch[RE + a + 3 * m], scratch[IM + a + 3 * m] = wrap16(lr - ti), wrap16(li + tr)


def powers(scratch: I64, tables: I64) -> None:
    """The real FFT's squared magnitudes, bins 1 to 255, out of the half-length complex one."""
    for k in range(1, POINTS // 2 + 1):
        pr, pi = round15(scratch[RE + k] * HALF), round15(scratch[IM + k] * HALF)
        qr = round15(scratch[RE + POINTS - k] * HALF)
        qi = round15(wrap16(-scratch[IM + POINTS - k]) * HALF)
        fr, fi = wrap16(pr + qr), wrap16(pi + qi)
        gr, gi = wrap16(pr - qr), wrap16(pi - qi)
        wr, wi = tables[SPLIT_COSINE + k - 1], tables[SPLIT_SINE + k - 1]
        tr, ti = wrap16(round15(gr * wr - gi * wi)), wrap16(round15(gr * wi + gi * wr))
        re, im = wrap16((fr + tr) >> 1), wrap16((fi + ti) >> 1)
        scratch[POWER + k] = re * re + im * im
        re, im = wrap16((fr - tr) >> 1), wrap16((ti - fi) >> 1)
        scratch[POWER + POINTS - k] = re * re + im * im


def bands(scratch: I64, tables: I64) -> None:
    """Each bin's power, part to its band and the rest to the next."""
    for b in range(BANDS + 1):
        scratch[BAND + b] = 0
    for k in range(1, POINTS):
        b = tables[BAND_OF_BIN + k]
        if b >= 0:
            scratch[BAND + b] += tables[WEIGHT_OF_BIN + k] * scratch[POWER + k]
            scratch[BAND + b + 1] += tables[REST_OF_BIN + k] * scratch[POWER + k]


def denoise(signal: Number, channel: int, noise: I64) -> Number:
    """The signal less its slowly following estimate of the noise, which is updated."""
    share = _SMOOTHING_EVEN if channel % 2 == 0 else _SMOOTHING_ODD
    scaled = (signal << SMOOTHING_BITS) & _U32
    estimate = ((scaled * share + noise[channel] * ((1 << NOISE_BITS) - share)) >> NOISE_BITS) & _U32
    noise[channel] = estimate
    less = (scaled - min(estimate, scaled)) >> SMOOTHING_BITS
    return max(less, (signal * REMAINING) >> NOISE_BITS)


def gain(signal: Number, noise: Number, tables: I64) -> Number:
    """Per-channel gain: the signal weighed by a power of its noise, compressed (arXiv:1607.05666)."""
    if noise <= 2:
        factor = tables[GAIN + noise]
    else:
        n = bits(noise)
        share = (noise << (11 - n) if n < 11 else noise >> (n - 11)) & 0x3FF
        at = GAIN + 4 * n - 6
        slope = ((tables[at + 2] * share) >> 5) + (tables[at + 1] << 5)
        factor = wrap16(((slope * share + 16384) >> 15) + tables[at])
    ratio = ((signal * factor) >> SNR_SHIFT) & _U32
    if ratio < 2 << PCAN_BITS:
        return (ratio * ratio) >> (2 + 2 * PCAN_BITS - PCAN_OUT_BITS)
    return (ratio >> (PCAN_BITS - PCAN_OUT_BITS)) - (1 << PCAN_OUT_BITS)


def logarithm(x: Number, tables: I64) -> Number:
    """64 ln x of an x of 32 bits, at most 65535; 0 for 0 and 1."""
    if x <= 1:
        return 0
    whole = bits(x) - 1
    part = x - (1 << whole)
    part = part << (LOG_BITS - whole) if whole < LOG_BITS else part >> (whole - LOG_BITS)
    segment = part >> (LOG_BITS - LOG_SEGMENT_BITS)
    low, high = tables[LOG + segment], tables[LOG + segment + 1]
    within = part - (segment << (LOG_BITS - LOG_SEGMENT_BITS))
    log2 = (whole << LOG_BITS) + part + low + (((high - low) * within) >> LOG_BITS)
    ln = (LN2 * log2 + 32768) >> LOG_BITS
    return min(((ln << LOG_OUT_BITS) + 32768) >> LOG_BITS, 65535)


def micro_frontend(samples: I16, rows: Count, tables: I64, noise: I64, scratch: I64, out: F32) -> Answer:
    """`rows` windows of `samples`, 160 apart, to rows of 40 features; `noise` is the state between calls."""
    for row in range(rows):
        shift = window(samples, row * STEP, tables, scratch)
        m = 1
        while m < POINTS:
            butterflies(scratch, tables, m, POINTS // (4 * m))
            m *= 4
        powers(scratch, tables)
        bands(scratch, tables)
        for c in range(CHANNELS):
            signal = denoise(root(scratch[BAND + c + 1]) >> shift, c, noise)
            signal = gain(signal, noise[c], tables)
            out[row * CHANNELS + c] = logarithm((signal << CORRECTION_BITS) & _U32, tables) * OUT_SCALE
    return 0


HELPERS = (wrap16, round15, bits, root, window, butterflies, powers, bands, denoise, gain, logarithm)
KERNELS = (kernel(micro_frontend),)
