"""The audio front end as a stream: samples in as they come, rows of features out; tables for its kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadSound
from edged.inference.kernels import audio
from edged.inference.kernels.audio import BANDS, BINS, CHANNELS, POINTS, STEP, WINDOW

_RATE_HZ = 16000
_LOWEST_HZ, _HIGHEST_HZ = 125.0, 7500.0
_GAIN_STRENGTH, _GAIN_OFFSET, _GAIN_BITS, _GAIN_INPUT_BITS = 0.95, 80.0, 21, 7


class MicroFrontend(ABC):
    """TensorFlow Lite Micro's audio front end over one stream; not for two threads at once."""

    def __init__(self) -> None:
        self._noise = np.zeros(CHANNELS, np.int64)
        self._waiting = np.zeros(0, np.int16)

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Take int16 samples (N,) at 16 kHz; answer the rows (n, 40) that are complete now, one each 10 ms.

        The first row needs 480 samples. Raises BadSound for another shape or type.
        """
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise BadSound(f"the front end takes int16 samples (N,), not {samples.dtype} {samples.shape}")
        waiting = np.concatenate([self._waiting, samples])
        rows = max(0, (waiting.size - WINDOW) // STEP + 1)
        self._waiting = waiting[rows * STEP :].copy()
        return self._features(waiting, rows)

    def reset(self) -> None:
        """Forget the stream: what follows is heard as from the beginning."""
        self._noise[:] = 0
        self._waiting = self._waiting[:0]

    @abstractmethod
    def _features(self, samples: NDArray[np.int16], rows: int) -> NDArray[np.float32]:
        """The first `rows` windows of contiguous `samples`; updates the noise estimate."""


@cache
def tables() -> NDArray[np.int64]:
    """Everything `audio.micro_frontend` looks up, at the offsets `audio.py` names; read-only."""
    table = np.zeros(audio.TABLES, np.int64)
    for at, values in (
        (audio.HANN, _hann()),
        (audio.COSINE, _turn(np.cos, -2 * np.pi * np.arange(POINTS) / POINTS)),
        (audio.SINE, _turn(np.sin, -2 * np.pi * np.arange(POINTS) / POINTS)),
        (audio.SPLIT_COSINE, _turn(np.cos, _split_phase())),
        (audio.SPLIT_SINE, _turn(np.sin, _split_phase())),
        (audio.ORDER, _digit_reversed()),
        (audio.GAIN, _gains()),
        (audio.LOG, _logs()),
    ):
        table[at : at + len(values)] = values
    _fill_filters(table)
    table.flags.writeable = False
    return table


def _hann() -> NDArray[np.int64]:
    """In single precision, as the original makes it: a coefficient of 4096 rounds the other way in double."""
    phase = (
        np.float32(np.pi)
        * np.float32(2)
        / np.float32(WINDOW)
        * (np.arange(WINDOW, dtype=np.float32) + np.float32(0.5))
    )
    wave = np.cos(phase.astype(np.float64)).astype(np.float32)
    return _step12(np.float32(0.5) - np.float32(0.5) * wave)


def _step12(share: NDArray[np.float32]) -> NDArray[np.int64]:
    steps: NDArray[np.int64] = np.floor(share * np.float32(4096) + np.float32(0.5)).astype(np.int64)
    return steps


def _turn(wave: np.ufunc, phase: NDArray[np.float64]) -> NDArray[np.int64]:
    steps: NDArray[np.int64] = np.floor(0.5 + 32767 * wave(phase)).astype(np.int64)
    return steps


def _split_phase() -> NDArray[np.float64]:
    return -np.pi * ((np.arange(POINTS // 2) + 1) / POINTS + 0.5)


def _digit_reversed() -> NDArray[np.int64]:
    """The order in which a radix-4 decimation in time wants its 4**4 inputs."""
    return np.arange(POINTS).reshape(4, 4, 4, 4).transpose().ravel()


def _mel(frequency_hz: NDArray[np.float32]) -> NDArray[np.float32]:
    ratio = frequency_hz / np.float32(700)
    return np.float32(1127) * np.log1p(ratio.astype(np.float64)).astype(np.float32)


def _fill_filters(table: NDArray[np.int64]) -> None:
    """Triangles evenly spaced in mel: a bin gives `weight` to the band whose peak it nears, the rest to the next."""
    bin_hz = 0.5 * _RATE_HZ / (BINS - 1)
    low, high = _mel(np.array([_LOWEST_HZ, _HIGHEST_HZ], np.float32))
    edges = low + (high - low) / np.float32(BANDS) * np.arange(BANDS + 1, dtype=np.float32)
    mels = _mel(np.float32(bin_hz) * np.arange(BINS, dtype=np.float32))
    heard = (np.arange(BINS) >= int(1.5 + _LOWEST_HZ / bin_hz)) & (mels <= edges[-1])
    band = np.where(heard, np.searchsorted(edges[1:], mels, side="left"), 0)
    weight = (edges[1:][band] - mels) / (edges[1:] - edges[:-1])[band]
    for at, values in (
        (audio.BAND_OF_BIN, np.where(heard, band, -1)),
        (audio.WEIGHT_OF_BIN, np.where(heard, _step12(weight), 0)),
        (audio.REST_OF_BIN, np.where(heard, _step12(np.float32(1) - weight), 0)),
    ):
        table[at : at + BINS] = values


def _gain(noise: int) -> int:
    value = (1 << _GAIN_BITS) * (noise / (1 << _GAIN_INPUT_BITS) + _GAIN_OFFSET) ** -_GAIN_STRENGTH
    return int(min(value + 0.5, 32767.0))


def _gains() -> list[int]:
    """The gain for a noise estimate: 0, 1, then for each power of two the coefficients of a parabola."""
    gains = [_gain(0), _gain(1)]
    for interval in range(2, 33):
        start = 1 << (interval - 1)
        end = 2 * start - (interval == 32)
        at_start, middle, at_end = _gain(start), _gain(start + start // 2), _gain(end)
        bend = 4 * (middle - at_start) - (at_end - at_start)
        gains += [at_start, bend, at_end - at_start - bend, 0]
    return gains[:125]


def _logs() -> NDArray[np.int64]:
    """log2(1 + x) - x at 128 steps of x from 0 to 1, of 2**16."""
    x = np.arange(129) / 128
    return np.round(65536 * (np.log2(1 + x) - x)).astype(np.int64)
