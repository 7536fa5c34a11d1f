"""Sounds made of numbers, and ways to write them as files."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


def tone(hz: float, rate_hz: int, seconds: float, level: float = 0.5) -> NDArray[np.float64]:
    """A sine."""
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def packed(samples: NDArray[np.float64], bits: int, *, is_float: bool = False) -> bytes:
    """Samples -1 to 1, (frames,) or (frames, channels), as a WAV file keeps them."""
    flat = np.ascontiguousarray(samples).reshape(-1)
    if is_float:
        return bytes(flat.astype("<f4" if bits == 32 else "<f8"))
    if bits == 8:
        return bytes(np.clip(np.rint(flat * 128) + 128, 0, 255).astype(np.uint8))
    top = 1 << (bits - 1)
    whole = np.clip(np.rint(flat * top), -top, top - 1).astype("<i4")
    if bits == 16:
        return bytes(whole.astype("<i2"))
    return bytes(np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8]))


def wav(
    body: bytes,
    *,
    rate_hz: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    data_size: int | None = None,
) -> bytes:
    """A WAV file around bytes; `data_size` is what it claims of them."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame & 0xFFFFFFFF, frame, bits)
    size = len(body) if data_size is None else data_size
    chunks = chunk(b"fmt ", form) + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, body: bytes) -> bytes:
    """One RIFF chunk, padded to an even size."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
