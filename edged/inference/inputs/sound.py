"""Bytes of a recording to mono samples: WAV (PCM 8, 16, 24, 32 bit, float 32, 64) and bare PCM. Pure.

IBM/Microsoft "Multimedia Programming Interface" (RIFF WAVE, 1991) and "Multiple Channel Audio Data"
(extensible).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edged.errors import BadSound, TooLarge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.inference.request import Buffer

RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 192_000
CHANNELS_MAX = 32

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {
    2: "ADPCM",
    6: "A-law",
    7: "mu-law",
    0x11: "IMA ADPCM",
    0x31: "GSM 6.10",
    0x50: "MPEG",
    0x55: "MP3",
    0xFF: "AAC",
}
_TO_THE_END = frozenset(
    (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFFE)
)  # what programs that write to a pipe put there
_BLOCK_FRAMES = 1 << 16


class Mono(NamedTuple):
    """Sound mixed down: float32, -1 to 1."""

    rate_hz: int
    samples: NDArray[np.float32]


class _Format(NamedTuple):
    is_float: bool
    channels: int
    rate_hz: int
    frame_bytes: int
    bits: int


def read_wav(data: Buffer, bytes_max: int, seconds_max: float) -> Mono:
    """A WAV file mixed down to mono. Raises BadSound for what it is not, TooLarge past a cap."""
    view = _view(data, bytes_max)
    magic = bytes(view[:4])
    if magic in (b"RF64", b"BW64"):
        raise BadSound(f"{magic.decode()} (WAV over 4 GiB) is not read")
    if magic != b"RIFF" or bytes(view[8:12]) != b"WAVE":
        raise BadSound("not a WAV file")
    form: _Format | None = None
    at = 12
    while at + 8 <= len(view):
        name, size = struct.unpack_from("<4sI", view, at)
        body = view[at + 8 : at + 8 + size]
        if name == b"fmt ":
            form = _read_format(body)
        elif name == b"data":
            if form is None:
                raise BadSound("WAV: samples before their format")
            if len(body) < size and size not in _TO_THE_END:
                raise BadSound(f"WAV: truncated: {size} bytes of samples promised, {len(body)} there")
            return _mono(body, form, seconds_max)
        at += 8 + size + size % 2
    raise BadSound("WAV: truncated: no samples")


def read_pcm(data: Buffer, rate_hz: int, bytes_max: int, seconds_max: float) -> Mono:
    """Bare mono samples, 16 bit little-endian. Raises BadSound and TooLarge."""
    view = _view(data, bytes_max)
    if len(view) % 2:
        raise BadSound(f"16-bit samples come in pairs of bytes, not {len(view)}")
    return _mono(view, _Format(False, 1, _checked_rate(rate_hz), 2, 16), seconds_max)


def _view(data: Buffer, bytes_max: int) -> memoryview:
    view = memoryview(data).cast("B")
    if len(view) > bytes_max:
        raise TooLarge(f"the recording has {len(view)} bytes, the cap (sound_max_bytes) is {bytes_max}")
    return view


def _read_format(body: memoryview) -> _Format:
    if len(body) < 16:
        raise BadSound("WAV: truncated format")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 40:
        (tag,) = struct.unpack_from("<H", body, 24)  # the sub-format's first two bytes
    if tag not in (_PCM, _FLOAT):
        raise BadSound(f"WAV: {_CODECS.get(tag, f'codec {tag:#06x}')} is not read; PCM and float are")
    if bits not in ((32, 64) if tag == _FLOAT else (8, 16, 24, 32)):
        raise BadSound(f"WAV: {bits}-bit {'float' if tag == _FLOAT else 'PCM'} is not read")
    if not 1 <= channels <= CHANNELS_MAX:
        raise BadSound(f"WAV: {channels} channels, 1 to {CHANNELS_MAX} are read")
    if frame_bytes != channels * bits // 8:
        raise BadSound(f"WAV: {channels} channels of {bits} bits are not {frame_bytes} bytes a frame")
    return _Format(tag == _FLOAT, channels, _checked_rate(rate_hz), frame_bytes, bits)


def _checked_rate(rate_hz: int) -> int:
    if not RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ:
        raise BadSound(f"{rate_hz} Hz; {RATE_MIN_HZ} to {RATE_MAX_HZ} Hz are read")
    return rate_hz


def _mono(body: memoryview, form: _Format, seconds_max: float) -> Mono:
    frames = len(body) // form.frame_bytes
    if frames > seconds_max * form.rate_hz:
        raise TooLarge(f"{frames / form.rate_hz:.1f} s of sound, the cap (sound_max_s) is {seconds_max:g} s")
    samples = np.empty(frames, np.float32)
    for start in range(0, frames, _BLOCK_FRAMES):  # in blocks: many channels of float64 would be large
        piece = body[start * form.frame_bytes : min(start + _BLOCK_FRAMES, frames) * form.frame_bytes]
        block = _scaled(piece, form).reshape(-1, form.channels)
        samples[start : start + len(block)] = block[:, 0] if form.channels == 1 else block.mean(axis=1)
    return Mono(form.rate_hz, samples)


def _scaled(piece: memoryview, form: _Format) -> NDArray[np.float32]:
    """Samples as float32, full scale at 1."""
    match form.bits:
        case 8:
            return (np.frombuffer(piece, np.uint8).astype(np.float32) - 128.0) / 128.0
        case 16:
            return np.frombuffer(piece, "<i2").astype(np.float32) / np.float32(1 << 15)
        case 24:
            padded = np.zeros((len(piece) // 3, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(piece, np.uint8).reshape(-1, 3)
            high: NDArray[np.int32] = padded.view("<i4")[:, 0]  # the sample in the upper three bytes
            return high.astype(np.float32) / np.float32(1 << 31)
        case 32 if not form.is_float:
            return np.frombuffer(piece, "<i4").astype(np.float32) / np.float32(1 << 31)
        case _:
            wide = np.frombuffer(piece, "<f4" if form.bits == 32 else "<f8")
            if not np.isfinite(wide).all():
                raise BadSound("WAV: a sample is NaN or infinite")
            clipped: NDArray[np.float64] = np.clip(wide, -1.0, 1.0)
            return clipped.astype(np.float32)
