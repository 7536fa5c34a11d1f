"""What the owner of a device may set about inference."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MiB = 1 << 20

Bytes = Annotated[int, Meta(ge=1024, le=1 << 40)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class InferenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[inference]` table."""

    runtime: Literal["auto", "litert", "tflite"] = "auto"
    """TFLite runtime; auto takes ai-edge-litert, then tflite-runtime (slower in int8, 22x here)."""
    kernels: Literal["auto", "native", "jit", "numpy"] = "auto"
    """Preprocessing backend; auto takes the compiled one where it is there, then numpy. jit costs 100 MB."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads an interpreter, capped at the CPUs this process may use: spinning past them costs seconds."""
    preload: list[str] = msgspec.field(default_factory=list)
    """Models loaded at start, by name, "*" for all; the others load at their first call."""
    memory_budget_bytes: Bytes = 256 * MiB
    """All loaded models and streams together; the least recently used is unloaded for the next."""
    queue_max: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Calls waiting for one model; one more is refused with the time to come back."""
    deadline_s: Seconds = 10.0
    """How long a call may wait to run where it does not say itself."""
    image_max_bytes: Bytes = 16 * MiB
    """Encoded image, before decoding."""
    image_max_pixels: Annotated[int, Meta(ge=1, le=1 << 30)] = 25_000_000
    """Width times height, read from the header before decoding; 25 MP decodes to 75 MB."""
    sound_max_bytes: Bytes = 16 * MiB
    """Encoded recording, before decoding."""
    sound_max_s: Seconds = 60.0
    """Length of one recording or one piece of a stream."""
    input_roots: list[str] = msgspec.field(default_factory=list)
    """Directories from which a call may name a file; none by default."""
    streams_max: Annotated[int, Meta(ge=0, le=1000)] = 16
    """Open audio streams over all peers: each has an interpreter of its own."""
    streams_max_per_peer: Annotated[int, Meta(ge=0, le=1000)] = 4
    """Open audio streams of one peer."""
    stream_idle_s: Seconds = 60.0
    """A stream that got nothing for so long is closed."""
