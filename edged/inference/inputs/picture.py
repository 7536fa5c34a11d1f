"""Bytes of an image to a Picture: JPEG by simplejpeg, the rest by Pillow (imported when first needed).

Sizes are known from the header before a pixel is decoded, so a decompression bomb costs its header.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import simplejpeg

from edged.errors import BadPicture, TooLarge
from edged.inference.config import InferenceConfig
from edged.inference.inputs.jpeg import Header, read_header
from edged.inference.manifest import ImageInput
from edged.inference.request import Buffer, Raw
from edged.inference.values import Layout, Picture, Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE_MAX = 65_535
SCANS_MAX = 100
"""Progressive scans; encoders write about ten, and each one costs a pass over the whole picture."""
KEPT_BUFFER_BYTES = 8 << 20
"""A decode buffer up to this size is kept for the next picture; it saves the page faults."""


class Seen(NamedTuple):
    """A decoded picture, upright, and its full size: `picture` may be smaller by `factor`."""

    picture: Picture
    width: int
    height: int
    factor: int = 1

    def placed(self, placement: Placement) -> Placement:
        """Where the full picture landed, from where the decoded one did."""
        if self.factor == 1:
            return placement
        scale_x, scale_y, offset_x, offset_y = placement
        return Placement(scale_x / self.factor, scale_y / self.factor, offset_x, offset_y)


class ImageDecoder:
    """One thread's decoder. What it gives may lie in its own buffer: it is good until the next call."""

    def __init__(self, config: InferenceConfig) -> None:
        self._bytes_max = config.image_max_bytes
        self._pixels_max = config.image_max_pixels
        self._buffer: NDArray[np.uint8] | None = None

    def raw(self, given: Raw) -> Seen:
        """The picture over the given memory; nothing is copied. Raises BadPicture and TooLarge."""
        layout, width, height = given.layout, given.width, given.height
        self._check_size(width, height)
        if layout in (Layout.NV12, Layout.YUYV) and width % 2:
            raise BadPicture(f"{layout.value} has an even width, not {width}")
        if layout is Layout.NV12 and height % 2:
            raise BadPicture(f"nv12 has an even height, not {height}")
        shape = layout.shape(height, width)
        try:
            pixels = np.frombuffer(given.data, np.uint8)
        except (ValueError, BufferError, TypeError) as exc:
            raise BadPicture(f"no contiguous bytes: {exc}") from exc
        expected = math.prod(shape)
        if pixels.size != expected:
            raise BadPicture(f"{layout.value} of {width}x{height} is {expected} bytes, got {pixels.size}")
        return Seen(Picture(layout, height, width, pixels.reshape(shape)), width, height)

    def encoded(self, data: Buffer, wanted: ImageInput | None = None) -> Seen:
        """Decode a file; where `wanted` is given, only as large and as colourful as that input needs.

        Raises BadPicture for what cannot be decoded and TooLarge for what is over a cap.
        """
        if len(data) > self._bytes_max:
            raise TooLarge(f"the image has {len(data)} bytes, the cap (image_max_bytes) is {self._bytes_max}")
        data = bytes(data)  # no copy for bytes; a shared mapping must not change under the decoder
        if data[:3] == b"\xff\xd8\xff":
            header = read_header(data)
            self._check_size(header.width, header.height)
            if header.components in (1, 3):
                return self._jpeg(data, header, wanted)
        return self._other(data)

    def _jpeg(self, data: bytes, header: Header, wanted: ImageInput | None) -> Seen:
        if header.progressive and data.count(b"\xff\xda") > SCANS_MAX:
            raise BadPicture(f"JPEG: more than {SCANS_MAX} progressive scans")
        factor = 1 if wanted is None else shrink(header, wanted)
        gray = header.components == 1 or (wanted is not None and wanted.colour == "gray")
        width, height = -(-header.width // factor), -(-header.height // factor)
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY" if gray else "RGB",
                fastdct=True,
                fastupsample=True,
                min_height=height if factor > 1 else 0,
                min_width=width if factor > 1 else 0,
                buffer=self._room(width * height * (1 if gray else 3)),
            )
        except ValueError as exc:
            raise BadPicture(f"JPEG: {exc}") from exc
        if gray:
            pixels = pixels[:, :, 0]
        if header.orientation != 1:
            pixels = upright(pixels, header.orientation)
        picture = Picture(Layout.GRAY if gray else Layout.RGB, pixels.shape[0], pixels.shape[1], pixels)
        seen = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
        return Seen(picture, *seen, factor)

    def _other(self, data: bytes) -> Seen:
        from edged.inference.inputs import raster  # noqa: PLC0415 - Pillow costs 9 MB that JPEG does not need

        pixels = raster.decode(data, self._check_size)
        height, width = pixels.shape[:2]
        layout = Layout.GRAY if pixels.ndim == 2 else Layout.RGB
        return Seen(Picture(layout, height, width, pixels), width, height)

    def _check_size(self, width: int, height: int) -> None:
        if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
            raise BadPicture(f"no picture is {width}x{height}")
        if width * height > self._pixels_max:
            raise TooLarge(f"{width}x{height} is over the cap (image_max_pixels) of {self._pixels_max}")

    def _room(self, size: int) -> NDArray[np.uint8]:
        if size > KEPT_BUFFER_BYTES:
            return np.empty(size, np.uint8)
        if self._buffer is None or self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


def shrink(header: Header, wanted: ImageInput) -> int:
    """The largest of 8, 4, 2, 1 by which the picture may shrink and still not be enlarged to fit `wanted`.

    Powers of two alone: libjpeg-turbo has vector code for those, and decodes 6/8 slower than the whole.
    """
    width, height = (
        (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    )
    wide, high = wanted.width / width, wanted.height / height
    match wanted.fit:
        case "letterbox":
            wide = high = min(wide, high)
        case "crop":
            wide = high = max(wide, high)
    needed = max(wide, high)
    for factor in (8, 4, 2):
        if needed * factor <= 1.0:
            return factor
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as it is seen, from how it is stored and its Exif orientation (2 to 8); a copy."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[
        orientation
    ]
    return np.ascontiguousarray(turned[::rows, ::columns])
