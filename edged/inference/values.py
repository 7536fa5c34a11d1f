"""What flows through the inference room: pictures, sounds, requests and answers, as plain values."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Layout(enum.Enum):
    """How a picture's bytes lie in memory; all C-contiguous uint8."""

    RGB = "rgb"  # (H, W, 3)
    BGR = "bgr"  # (H, W, 3)
    RGBA = "rgba"  # (H, W, 4), alpha ignored
    GRAY = "gray"  # (H, W)
    NV12 = "nv12"  # (H * 3 / 2, W): luma, then interleaved chroma; BT.601 limited range; H and W even
    YUYV = "yuyv"  # (H, W, 2): Y0 U Y1 V; BT.601 limited range; W even

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """The array's shape for a picture of this size."""
        match self:
            case Layout.RGB | Layout.BGR:
                return (height, width, 3)
            case Layout.RGBA:
                return (height, width, 4)
            case Layout.GRAY:
                return (height, width)
            case Layout.NV12:
                return (height * 3 // 2, width)
            case Layout.YUYV:
                return (height, width, 2)

    def size(self, height: int, width: int) -> int:
        """The bytes of a picture of this size."""
        return math.prod(self.shape(height, width))


class Picture(NamedTuple):
    """A decoded picture; `pixels` has the shape its layout gives."""

    layout: Layout
    height: int
    width: int
    pixels: NDArray[np.uint8]


class Sound(NamedTuple):
    """Decoded mono sound: int16 samples at `rate_hz`."""

    rate_hz: int
    samples: NDArray[np.int16]


class Placement(NamedTuple):
    """Where a picture landed in a tensor: tensor x = picture x * scale_x + offset_x, likewise y; pixels."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """The picture's pixel for a tensor's pixel."""
        return (x - self.offset_x) / self.scale_x, (y - self.offset_y) / self.scale_y


class Box(msgspec.Struct, frozen=True):
    """A rectangle in pixels of the picture as it is seen (after EXIF rotation)."""

    x0: float
    y0: float
    x1: float
    y1: float


class Point(msgspec.Struct, frozen=True):
    """A named place in pixels of the picture as it is seen."""

    name: str
    x: float
    y: float


class Score(msgspec.Struct, frozen=True):
    """A label and how sure the model is, 0 to 1."""

    label: str
    score: float


class Object(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something found in a picture."""

    label: str
    score: float
    box: Box
    keypoints: list[Point] = msgspec.field(default_factory=list)


class Hit(msgspec.Struct, frozen=True):
    """A keyword heard: its highest averaged score and when, in seconds since the stream began."""

    label: str
    score: float
    at_s: float


class Labels(msgspec.Struct, frozen=True):
    """What a picture shows, most likely first."""

    labels: list[Score]


class Objects(msgspec.Struct, frozen=True):
    """What was found, surest first."""

    objects: list[Object]
    width: int
    height: int


class Heard(msgspec.Struct, frozen=True):
    """Every label's best averaged score in this piece, and what crossed the threshold."""

    scores: list[Score]
    heard: list[Hit]
    seconds: float


class Deviation(msgspec.Struct, frozen=True):
    """How far a reading is from what the model knows, and which inputs carry it, largest first."""

    score: float
    threshold: float
    anomalous: bool
    contributions: list[Score]


class Tensor(msgspec.Struct, frozen=True):
    """One output tensor, dequantised, row-major."""

    name: str
    shape: list[int]
    values: list[float]


class TensorList(msgspec.Struct, frozen=True):
    """Every output tensor."""

    tensors: list[Tensor]


Finding = Labels | Objects | Heard | Deviation | TensorList


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds an inference spent where."""

    queue_ms: float
    decode_ms: float
    preprocess_ms: float
    invoke_ms: float
    postprocess_ms: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One finished inference."""

    model: str
    version: str
    variant: str
    finding: Finding
    stages: Stages
    limits: str
    """Under which limits it ran, in words."""
    annotated_png: bytes | None = None
