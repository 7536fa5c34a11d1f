"""The audio front end in numpy: what `audio.py` does window by window, done to all windows at once."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edged.inference.kernels import audio
from edged.inference.kernels.audio import BANDS, BINS, CHANNELS, POINTS, STEP, WINDOW
from edged.inference.kernels.frontend import MicroFrontend, tables

Ints = NDArray[np.int64]

_U32 = 0xFFFFFFFF


class PlainMicroFrontend(MicroFrontend):
    """The front end without compiled code."""

    def _features(self, samples: NDArray[np.int16], rows: int) -> NDArray[np.float32]:
        if rows == 0:
            return np.zeros((0, CHANNELS), np.float32)
        shift, windows = _window(sliding_window_view(samples, WINDOW)[: rows * STEP : STEP].astype(np.int64))
        signal = _root(_bands(_powers(_fft(windows)))) >> shift[:, None]
        cleaned, noise = self._denoise(signal)
        value = (_gain(cleaned, noise) << audio.CORRECTION_BITS) & _U32
        return (_logarithm(value) * np.float32(audio.OUT_SCALE)).astype(np.float32)

    def _denoise(self, signal: Ints) -> tuple[Ints, Ints]:
        """Signal (rows, 40) less its noise, and the noise estimate as each row left it."""
        share = np.resize(np.array(audio.SMOOTHING), CHANNELS)
        scaled = (signal << audio.SMOOTHING_BITS) & _U32
        noise = np.empty_like(signal)
        for i, row in enumerate(scaled):
            self._noise = (
                (row * share + self._noise * ((1 << audio.NOISE_BITS) - share)) >> audio.NOISE_BITS
            ) & _U32
            noise[i] = self._noise
        less = (scaled - np.minimum(noise, scaled)) >> audio.SMOOTHING_BITS
        return np.maximum(less, (signal * audio.REMAINING) >> audio.NOISE_BITS), noise


def _table(at: int, length: int) -> Ints:
    return tables()[at : at + length]


def _bits(x: Ints) -> Ints:
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def _window(samples: Ints) -> tuple[Ints, Ints]:
    """Each row windowed and shifted up to 16 bits: the shifts (rows,), the samples (rows, 512)."""
    windowed = (samples * _table(audio.HANN, WINDOW)) >> 12
    loud = np.abs(windowed)
    shift = 15 - _bits(np.where(loud > 32767, 0, loud).max(axis=1))
    padded = np.zeros((len(samples), 2 * POINTS), np.int64)
    padded[:, :WINDOW] = _wrap16(windowed << shift[:, None])
    return shift, padded


def _wrap16(x: Ints) -> Ints:
    return ((x + 32768) & 65535) - 32768


def _times(re: Ints, im: Ints, cosine: Ints, sine: Ints) -> tuple[Ints, Ints]:
    return (re * cosine - im * sine + 16384) >> 15, (re * sine + im * cosine + 16384) >> 15


def _scaled(x: Ints, factor: int) -> Ints:
    return (x * factor + 16384) >> 15


def _fft(windows: Ints) -> tuple[Ints, Ints]:
    """The half-length complex FFT of each row, even samples real and odd ones imaginary."""
    order = _table(audio.ORDER, POINTS)
    re, im = windows[:, 0::2][:, order], windows[:, 1::2][:, order]
    cosine, sine = _table(audio.COSINE, POINTS), _table(audio.SINE, POINTS)
    for m in (1, 4, 16, 64):
        shape = (len(windows), POINTS // (4 * m), 4, m)
        t = np.arange(m) * (POINTS // (4 * m))
        re4, im4 = _scaled(re.reshape(shape), audio.QUARTER), _scaled(im.reshape(shape), audio.QUARTER)
        (ar, br, cr, dr), (ai, bi, ci, di) = (part.transpose(2, 0, 1, 3) for part in (re4, im4))
        br, bi = _times(br, bi, cosine[t], sine[t])
        cr, ci = _times(cr, ci, cosine[2 * t], sine[2 * t])
        dr, di = _times(dr, di, cosine[3 * t], sine[3 * t])
        er, ei, lr, li = ar + cr, ai + ci, ar - cr, ai - ci
        sr, si, tr, ti = br + dr, bi + di, br - dr, bi - di
        re = _wrap16(np.stack([er + sr, lr + ti, er - sr, lr - ti], axis=2)).reshape(re.shape)
        im = _wrap16(np.stack([ei + si, li - tr, ei - si, li + tr], axis=2)).reshape(im.shape)
    return re, im


def _powers(spectrum: tuple[Ints, Ints]) -> Ints:
    """Squared magnitudes (rows, 257) of the real FFT; bins 0 and 256, which no band hears, stay 0."""
    re, im = spectrum
    k = np.arange(1, POINTS // 2 + 1)
    pr, pi = _scaled(re[:, k], audio.HALF), _scaled(im[:, k], audio.HALF)
    qr, qi = _scaled(re[:, POINTS - k], audio.HALF), _scaled(_wrap16(-im[:, POINTS - k]), audio.HALF)
    fr, fi, gr, gi = (_wrap16(part) for part in (pr + qr, pi + qi, pr - qr, pi - qi))
    cosine, sine = _table(audio.SPLIT_COSINE, POINTS // 2), _table(audio.SPLIT_SINE, POINTS // 2)
    tr, ti = (_wrap16(part) for part in _times(gr, gi, cosine, sine))
    power = np.zeros((len(re), BINS), np.int64)
    power[:, k] = _wrap16((fr + tr) >> 1) ** 2 + _wrap16((fi + ti) >> 1) ** 2
    power[:, POINTS - k] = _wrap16((fr - tr) >> 1) ** 2 + _wrap16((ti - fi) >> 1) ** 2
    return power


def _bands(power: Ints) -> Ints:
    """Power gathered in the 40 channels: the first band only feeds the second."""
    band = _table(audio.BAND_OF_BIN, BINS)
    heard = np.flatnonzero(band >= 0)
    matrix = np.zeros((BINS, BANDS + 1), np.int64)
    matrix[heard, band[heard]] = _table(audio.WEIGHT_OF_BIN, BINS)[heard]
    matrix[heard, band[heard] + 1] += _table(audio.REST_OF_BIN, BINS)[heard]
    return (power @ matrix)[:, 1 : CHANNELS + 1]


def _root(x: Ints) -> Ints:
    r = np.sqrt(x.astype(np.float64)).astype(np.int64)
    r -= r * r > x
    rounded: Ints = r + ((x - r * r > r) & ~((r == 0xFFFF) & (x <= _U32)))
    return rounded


def _gain(signal: Ints, noise: Ints) -> Ints:
    table = _table(audio.GAIN, 125)
    n = np.maximum(_bits(noise), 2)
    share = np.where(n < 11, noise << np.maximum(11 - n, 0), noise >> np.maximum(n - 11, 0)) & 0x3FF
    at = 4 * n - 6
    slope = ((table[at + 2] * share) >> 5) + (table[at + 1] << 5)
    curve = _wrap16(((slope * share + 16384) >> 15) + table[at])
    factor = np.where(noise <= 2, table[np.minimum(noise, 2)], curve)
    ratio = ((signal * factor) >> audio.SNR_SHIFT) & _U32
    quiet = ratio < 2 << audio.PCAN_BITS
    low = np.where(quiet, ratio, 0) ** 2 >> (2 + 2 * audio.PCAN_BITS - audio.PCAN_OUT_BITS)
    return np.where(
        quiet, low, (ratio >> (audio.PCAN_BITS - audio.PCAN_OUT_BITS)) - (1 << audio.PCAN_OUT_BITS)
    )


def _logarithm(x: Ints) -> Ints:
    bits, segment_bits = audio.LOG_BITS, audio.LOG_SEGMENT_BITS
    table = _table(audio.LOG, 130)
    whole = np.maximum(_bits(x) - 1, 0)
    part = np.maximum(x - (1 << whole), 0)
    part = np.where(whole < bits, part << np.maximum(bits - whole, 0), part >> np.maximum(whole - bits, 0))
    segment = part >> (bits - segment_bits)
    low, high = table[segment], table[segment + 1]
    log2 = (
        (whole << bits) + part + low + (((high - low) * (part - (segment << (bits - segment_bits)))) >> bits)
    )
    ln = (audio.LN2 * log2 + 32768) >> bits
    return np.where(x > 1, np.minimum(((ln << audio.LOG_OUT_BITS) + 32768) >> bits, 65535), 0)
