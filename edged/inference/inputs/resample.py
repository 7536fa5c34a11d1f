"""Sound at any rate to 16 kHz: a windowed-sinc polyphase filter that takes its input in pieces.

Kaiser window (beta 9: stop band below -80 dB), 16 zero crossings a side; J. O. Smith, "Digital Audio
Resampling". Rates whose ratio to 16 kHz has up to 1024 phases (all that recorders use) are exact; for the
others the filter is interpolated linearly between 1024 phases, an error below -90 dB.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_OUT_HZ = 16_000
PHASES_MAX = 1024
_CROSSINGS = 16
_BETA = 9.0
_PASS = 0.92  # of the lower Nyquist frequency; the rest is the transition band
_BLOCK = 2048


class _Bank(NamedTuple):
    """`taps[p]` weighs the 2 * half inputs around an output p / phases of a sample past input half - 1."""

    up: int
    down: int
    phases: int
    half: int
    taps: NDArray[np.float32]  # (phases + 1, 2 * half)


class Resampler:
    """Feed pieces, get 16 kHz; pieces give the same samples as the whole. Holds one filter length."""

    def __init__(self, rate_hz: int) -> None:
        self._bank = _bank(rate_hz)
        self._held = np.zeros(self._bank.half - 1, np.float32)  # silence before the first sample
        self._held_from = -(self._bank.half - 1)  # input index of _held[0]
        self._next = 0  # index of the next output

    def feed(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """The outputs that `samples` complete; with `last`, also those that need the silence after it."""
        bank = self._bank
        ends = self._held_from + self._held.size + samples.size
        tail = np.zeros(bank.half if last else 0, np.float32)
        line = np.concatenate((self._held, samples, tail))
        reach = ends if last else ends - bank.half  # outputs lie before this input position
        stop = max(self._next, -(-reach * bank.up // bank.down))
        out = np.empty(stop - self._next, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(line, 2 * bank.half) if out.size else line
        for start in range(0, out.size, _BLOCK):
            chunk = out[start : start + _BLOCK]
            self._weigh(windows, self._next + start, chunk)
        self._next = stop
        keep_from = max(self._held_from, self._next * bank.down // bank.up - bank.half + 1)
        self._held = line[keep_from - self._held_from : ends - self._held_from].copy()
        self._held_from = keep_from
        return out

    def _weigh(self, windows: NDArray[np.float32], first: int, out: NDArray[np.float32]) -> None:
        bank = self._bank
        position = np.arange(first, first + out.size, dtype=np.int64) * bank.down
        whole, part = np.divmod(position, bank.up)
        phase, rest = np.divmod(part * bank.phases, bank.up)
        taps = bank.taps[phase]
        if bank.phases != bank.up:
            fraction = (rest / bank.up).astype(np.float32)[:, None]
            taps = taps + fraction * (bank.taps[phase + 1] - taps)
        np.einsum("ij,ij->i", windows[whole - bank.half + 1 - self._held_from], taps, out=out)


@lru_cache(maxsize=8)
def _bank(rate_hz: int) -> _Bank:
    common = math.gcd(rate_hz, RATE_OUT_HZ)
    up, down = RATE_OUT_HZ // common, rate_hz // common
    phases = min(up, PHASES_MAX)
    cutoff = _PASS * min(1.0, up / down)
    half = math.ceil(_CROSSINGS / cutoff)
    at = np.arange(-half + 1, half + 1)[None, :] - np.arange(phases + 1)[:, None] / phases
    window = np.i0(_BETA * np.sqrt(np.maximum(0.0, 1.0 - (at / half) ** 2))) / np.i0(_BETA)
    taps = np.sinc(cutoff * at) * window
    return _Bank(up, down, phases, half, (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32))
