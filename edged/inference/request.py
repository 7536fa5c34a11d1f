"""What a caller asks: one inference, as a value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from edged.inference.values import Layout

Buffer = bytes | bytearray | memoryview


class Encoded(msgspec.Struct, frozen=True):
    """A file's bytes: JPEG, PNG, WebP, BMP or GIF for a model that sees, WAV for one that hears."""

    data: Buffer


class Raw(msgspec.Struct, frozen=True):
    """Pixels as they lie in memory. A mapping's owner may write while we read: the picture tears, no more.

    `data` is read until the call ends, also where its caller has gone.
    """

    layout: Layout
    width: int
    height: int
    data: Buffer


class Pcm(msgspec.Struct, frozen=True):
    """Mono samples, 16 bit, little-endian."""

    rate_hz: int
    data: Buffer


class Numbers(msgspec.Struct, frozen=True):
    """Natural units: by name, or all of them in the manifest's order."""

    values: Mapping[str, float] | Sequence[float]


class GivenTensors(msgspec.Struct, frozen=True):
    """Every input tensor in order, flat and row-major, in real units (quantised here where the tensor is)."""

    tensors: Sequence[Sequence[float]]


Given = Encoded | Raw | Pcm | Numbers | GivenTensors


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One inference; options that the model's decoder does not know are refused, not ignored."""

    model: str
    given: Given
    peer: Hashable
    """Who asks; peers of one priority take turns."""
    top_k: Annotated[int, Meta(ge=1, le=1000)] | None = None
    threshold: Annotated[float, Meta(ge=0)] | None = None
    annotate: bool = False
    """Also give the picture with the finding drawn in, as PNG."""
    variant: str | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    deadline_s: float | None = None
    """Seconds it may wait to run; None takes the configured ones."""
    stream: str | None = None
    """Name of the peer's audio stream this piece belongs to; None judges the recording by itself."""
