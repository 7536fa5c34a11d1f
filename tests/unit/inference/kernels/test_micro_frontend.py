from __future__ import annotations

import itertools

import numpy as np
import pymicro_features
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edged.errors import BadSound
from edged.inference.kernels.seam import Kernels

pytestmark = pytest.mark.timeout(600)  # the first test of a backend waits for its compiler

SECONDS = np.arange(16000) / 16000
RNG = np.random.default_rng(7)

SOUNDS: dict[str, NDArray[np.float64]] = {
    "silence": np.zeros(16000),
    "whisper": RNG.normal(0, 3, 16000),
    "noise": RNG.normal(0, 3000, 16000),
    "clipping noise": RNG.normal(0, 40000, 16000),
    "sweep": 20000 * np.sin(2 * np.pi * (200 + 3000 * SECONDS) * SECONDS),
    "square": 32767 * np.sign(np.sin(2 * np.pi * 440 * SECONDS)),
    "lowest": np.full(16000, -32768.0),
    "clicks": np.where(np.arange(16000) % 1600 == 0, 32767.0, 0.0),
    "fading tone": 30000 * np.exp(-8 * SECONDS) * np.sin(2 * np.pi * 1000 * SECONDS),
}


def sound(name: str) -> NDArray[np.int16]:
    return np.clip(SOUNDS[name], -32768, 32767).astype(np.int16)


def reference(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    frontend, rows, audio = pymicro_features.MicroFrontend(), [], samples.tobytes()
    while len(audio) >= 320:
        out = frontend.process_samples(audio[:320])
        audio = audio[2 * out.samples_read :]
        if out.features:
            rows.append(out.features)
    return np.array(rows, np.float32).reshape(-1, 40)


# Two of the filters' weights, of bins 149 and 221, lie so near a half of their last bit that the last bit of the C
# library's log1pf decides how the reference rounds them. Each reaches two channels.
UNSURE = [32, 33, 38, 39]


def assert_heard_alike(features: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert features.shape == expected.shape
    difference = np.abs(features - expected)
    assert difference[:, UNSURE].max() <= 1.5
    assert np.delete(difference, UNSURE, axis=1).max() == 0


@pytest.mark.parametrize("name", SOUNDS)
def test_features_are_those_the_models_were_trained_on_to_the_last_bit(kernels: Kernels, name: str) -> None:
    features = kernels.micro_frontend().feed(sound(name))
    assert features.dtype == np.float32
    assert_heard_alike(features, reference(sound(name)))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 4000), max_size=8))
def test_how_a_stream_is_cut_does_not_matter(kernels: Kernels, cuts: list[int]) -> None:
    whole, stream = kernels.micro_frontend(), kernels.micro_frontend()
    samples = sound("sweep")[:4000]
    edges = [0, *sorted(cuts), samples.size]
    parts = [stream.feed(samples[start:end]) for start, end in itertools.pairwise(edges)]
    assert (np.concatenate(parts) == whole.feed(samples)).all()


def test_a_row_comes_every_ten_milliseconds_after_the_first_thirty(kernels: Kernels) -> None:
    stream = kernels.micro_frontend()
    assert stream.feed(np.zeros(479, np.int16)).shape == (0, 40)
    assert stream.feed(np.zeros(1, np.int16)).shape == (1, 40)
    assert stream.feed(np.zeros(159, np.int16)).shape == (0, 40)
    assert stream.feed(np.zeros(161, np.int16)).shape == (2, 40)


def test_after_a_reset_a_stream_is_heard_as_from_the_beginning(kernels: Kernels) -> None:
    stream = kernels.micro_frontend()
    first = stream.feed(sound("noise")[:3000])
    stream.reset()
    assert (stream.feed(sound("noise")[:3000]) == first).all()


def test_streams_do_not_hear_each_other(kernels: Kernels) -> None:
    one, other = kernels.micro_frontend(), kernels.micro_frontend()
    other.feed(sound("clipping noise"))
    assert (one.feed(sound("sweep")) == kernels.micro_frontend().feed(sound("sweep"))).all()


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 480), np.int16), np.zeros(480, np.float32)], ids=["stereo", "float"]
)
def test_anything_but_mono_int16_is_refused(kernels: Kernels, samples: NDArray[np.int16]) -> None:
    with pytest.raises(BadSound, match="int16 samples"):
        kernels.micro_frontend().feed(samples)


def test_samples_with_gaps_are_taken_as_they_are(kernels: Kernels) -> None:
    stereo = np.stack([sound("sweep"), sound("noise")], axis=1)
    whole = kernels.micro_frontend().feed(sound("sweep"))
    assert (kernels.micro_frontend().feed(stereo[:, 0]) == whole).all()
