"""What a pre-flight is asked and what it answers, as values."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edged.inference.manifest import Manifest, Variant


class Unfit(Exception):
    """Why a model is not fit, in words; stays inside the child."""


class TensorInfo(msgspec.Struct, frozen=True):
    """An input or output tensor: what the model declares, and for an output the shape it really had."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name for it: float32, int8 …"""
    scale: float
    """real = scale * (stored - zero_point); 0.0 where the tensor is not quantised per tensor."""
    zero_point: int


class Task(msgspec.Struct, frozen=True):
    """What the child does, and the limits it puts on itself first."""

    runtime: str
    """litert or tflite."""
    model_fd: int
    report_fd: int
    golden_fd: int | None
    timeout_s: float
    memory_bytes: int
    """Address space; 0 is no limit."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a model did in its pre-flight."""

    runtime: str
    """Package and version."""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    load_ms: float
    invoke_ms: float
    """The fastest invoke on one thread, in the child."""
    memory_bytes: int
    """How much loading and running it grew the child."""
    peak_rss_bytes: int
    unfinite: tuple[str, ...] = ()
    """Outputs that held NaN or infinity for inputs of zeros."""
    golden_error: float | None = None
    """Largest difference from the golden outputs, dequantised; None where there is no golden vector."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the child's report: where it is, then either why it refused or what it found."""

    doing: str
    refused: str | None = None
    report: Report | None = None


class Trial(NamedTuple):
    """One variant on trial; the descriptors are sealed memory files and stay the caller's."""

    manifest: Manifest
    variant: Variant
    label_count: int | None
    """None where the output has no labels."""
    model_fd: int
    golden_fd: int | None
