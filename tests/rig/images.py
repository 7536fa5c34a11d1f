"""Real photographs and ways to write them as files."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from skimage import data

Pixels = NDArray[np.uint8]


@cache
def photograph(name: str) -> Pixels:
    """One of scikit-image's: astronaut, chelsea, coffee, rocket."""
    return np.ascontiguousarray(getattr(data, name)())


def sized(pixels: Pixels, width: int, height: int) -> Pixels:
    """The same picture at another size."""
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def jpeg(pixels: Pixels, quality: int = 90, orientation: int | None = None) -> bytes:
    """A JPEG, gray for two dimensions, with an Exif orientation where one is given."""
    gray = pixels.ndim == 2
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels[:, :, None] if gray else pixels),
        quality=quality,
        colorspace="GRAY" if gray else "RGB",
        colorsubsampling="Gray" if gray else "444",
    )
    return encoded if orientation is None else with_app1(encoded, exif(orientation))


def exif(orientation: int, order: str = "<") -> bytes:
    """An Exif block with nothing but an orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + start + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def with_app1(encoded: bytes, body: bytes) -> bytes:
    """A JPEG with an APP1 segment right after its start."""
    return encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + encoded[2:]


def file(image: Image.Image, form: str, **options: object) -> bytes:
    """An image as Pillow writes it."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()
