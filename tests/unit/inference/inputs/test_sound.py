from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import BadSound, EdgedError, TooLarge
from edged.inference.inputs.sound import Mono, read_pcm, read_wav
from tests.rig.sounds import chunk, packed, tone, wav

BYTES_MAX, SECONDS_MAX = 1 << 24, 60.0
TONE = tone(440, 16_000, 0.05)


def read(data: bytes) -> Mono:
    return read_wav(data, BYTES_MAX, SECONDS_MAX)


@pytest.mark.parametrize(
    ("bits", "is_float", "error"),
    [
        (8, False, 1 / 128),
        (16, False, 2e-5),
        (24, False, 1e-6),
        (32, False, 1e-6),
        (32, True, 1e-6),
        (64, True, 1e-6),
    ],
)
def test_every_sample_format_is_read(bits: int, is_float: bool, error: float) -> None:  # noqa: FBT001 - a table column
    mono = read(wav(packed(TONE, bits, is_float=is_float), bits=bits, tag=3 if is_float else 1))
    assert mono.rate_hz == 16_000
    np.testing.assert_allclose(mono.samples, TONE, atol=error)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_full_scale_is_one_in_every_format(bits: int) -> None:
    mono = read(wav(packed(np.array([-1.0, 0.0, 1.0]), bits), bits=bits))
    np.testing.assert_allclose(mono.samples, [-1.0, 0.0, 1.0], atol=1 / 64)


def test_channels_are_mixed_down() -> None:
    stereo = np.stack((TONE, -TONE / 2), axis=1)
    mono = read(wav(packed(stereo, 16), channels=2))
    np.testing.assert_allclose(mono.samples, TONE / 4, atol=1e-4)


def test_a_long_recording_is_mixed_down_block_by_block_without_a_seam() -> None:
    stereo = np.stack((np.linspace(-1, 1, 150_000), np.zeros(150_000)), axis=1)
    mono = read(wav(packed(stereo, 24), channels=2, bits=24, rate_hz=48_000))
    np.testing.assert_allclose(mono.samples, stereo[:, 0] / 2, atol=1e-6)


def test_the_extensible_format_is_read_by_its_sub_format() -> None:
    guid = struct.pack("<H", 3) + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<HHIIHH", 0xFFFE, 1, 16_000, 64_000, 4, 32) + struct.pack("<HHI", 22, 32, 4) + guid
    body = packed(TONE, 32, is_float=True)
    data = b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", form) + chunk(b"data", body)
    np.testing.assert_allclose(read(data).samples, TONE, atol=1e-6)


def test_chunks_a_reader_does_not_know_are_passed_over() -> None:
    plain = wav(packed(TONE, 16))
    data = plain[:12] + chunk(b"LIST", b"odd") + plain[12:]
    np.testing.assert_allclose(read(data).samples, TONE, atol=1e-4)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_recording_written_to_a_pipe_is_read_to_its_end(size: int) -> None:
    assert read(wav(packed(TONE, 16), data_size=size)).samples.size == TONE.size


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a WAV"),
        (b"RIFF", "not a WAV"),
        (b"OggS" + bytes(100), "not a WAV"),
        (b"RF64" + bytes(100), "RF64"),
        (wav(b"")[:30], "truncated"),
        (wav(packed(TONE, 16))[:-2], "truncated: 1600 bytes of samples promised, 1598 there"),
        (wav(packed(TONE, 16), data_size=10**6), "truncated"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"data", bytes(10)), "before their format"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", bytes(4)), "truncated format"),
        (wav(bytes(10), tag=6, bits=8), "A-law"),
        (wav(bytes(10), tag=0x55), "MP3"),
        (wav(bytes(10), tag=0x1234), "0x1234"),
        (wav(bytes(10), bits=12), "12 bits are not|12-bit"),
        (wav(bytes(10), tag=3, bits=16), "16-bit float"),
        (wav(b"", channels=0), "0 channels"),
        (wav(b"", channels=33), "33 channels"),
        (wav(bytes(10), rate_hz=4000), "4000 Hz"),
        (wav(bytes(10), rate_hz=384_000), "384000 Hz"),
        (wav(bytes(10), rate_hz=0), "0 Hz"),
    ],
)
def test_what_is_no_readable_recording_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(BadSound, match=says):
        read(data)


def test_a_frame_size_that_contradicts_its_format_is_refused() -> None:
    data = bytearray(wav(packed(TONE, 16)))
    data[32:34] = struct.pack("<H", 4)
    with pytest.raises(BadSound, match="4 bytes a frame"):
        read(bytes(data))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused(poison: float) -> None:
    samples = TONE.copy()
    samples[100] = poison
    with pytest.raises(BadSound, match="NaN or infinite"):
        read(wav(packed(samples, 32, is_float=True), bits=32, tag=3))


def test_a_recording_over_the_caps_is_refused_before_it_is_converted() -> None:
    with pytest.raises(TooLarge, match="sound_max_s"):
        read_wav(wav(bytes(32_000)), BYTES_MAX, seconds_max=0.9)
    with pytest.raises(TooLarge, match="sound_max_bytes"):
        read_wav(wav(bytes(32_000)), 32_000, SECONDS_MAX)


def test_bare_samples_are_read_with_their_rate() -> None:
    mono = read_pcm(packed(TONE, 16), 44_100, BYTES_MAX, SECONDS_MAX)
    assert mono.rate_hz == 44_100
    np.testing.assert_allclose(mono.samples, TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "rate_hz", "says"), [(3, 16_000, "pairs"), (4, 7_999, "7999 Hz"), (4, 192_001, "192001")]
)
def test_bare_samples_of_a_wrong_size_or_rate_are_refused(size: int, rate_hz: int, says: str) -> None:
    with pytest.raises(BadSound, match=says):
        read_pcm(bytes(size), rate_hz, BYTES_MAX, SECONDS_MAX)


@given(st.binary(max_size=120), st.integers(0, 60))
def test_a_damaged_wav_is_read_or_refused(noise: bytes, at: int) -> None:
    whole = wav(packed(TONE, 16))
    try:
        mono = read(whole[:at] + noise + whole[at + len(noise) :])
    except EdgedError:
        return
    assert np.isfinite(mono.samples).all()
