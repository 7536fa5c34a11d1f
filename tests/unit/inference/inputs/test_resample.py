from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.inference.inputs.resample import RATE_OUT_HZ, Resampler
from tests.rig.sounds import tone

RATES = [
    8_000,
    11_025,
    12_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
    88_200,
    96_000,
    176_400,
    192_000,
    8_001,
    44_101,
    191_999,
]


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_tone_stays_the_same_tone_at_every_rate(rate_hz: int) -> None:
    out = Resampler(rate_hz).feed(tone(1000, rate_hz, 0.5).astype(np.float32), last=True)
    expected = tone(1000, RATE_OUT_HZ, 0.5)
    assert abs(out.size - expected.size) <= 1
    middle = slice(400, min(out.size, expected.size) - 400)
    noise = np.sqrt(np.mean((out[middle] - expected[middle]) ** 2))
    assert 20 * np.log10(0.5 / np.sqrt(2) / noise) > 75.0


@pytest.mark.parametrize("rate_hz", [22_050, 32_000, 44_100, 48_000, 192_000])
def test_what_16_khz_cannot_carry_does_not_fold_back(rate_hz: int) -> None:
    out = Resampler(rate_hz).feed(tone(9_500, rate_hz, 0.5).astype(np.float32), last=True)
    assert np.abs(out[400:-400]).max() < 0.5 * 10 ** (-70 / 20)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(RATES), st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.integers(0, 2**32 - 1)
)
def test_pieces_give_the_same_samples_as_the_whole(rate_hz: int, sizes: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    whole = Resampler(rate_hz).feed(sound, last=True)
    pieces, resampler, at = [], Resampler(rate_hz), 0
    for size in sizes:
        pieces.append(resampler.feed(sound[at : at + size]))
        at += size
    pieces.append(resampler.feed(sound[:0], last=True))
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
    assert whole.size == -(-sound.size * RATE_OUT_HZ // rate_hz)


def test_an_endless_stream_holds_no_more_than_a_filter() -> None:
    resampler = Resampler(48_000)
    for _ in range(50):
        resampler.feed(np.ones(4800, np.float32))
    assert resampler._held.size < 200
