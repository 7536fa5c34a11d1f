"""PNG, WebP, BMP, GIF and the JPEGs of printers (CMYK), by Pillow: 9 MB, so imported when one comes.

Gray stays gray; 16 bits become the upper 8; transparent pixels come out black, since what lies under them was
never meant to be seen. Only the first frame counts.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, WebPImagePlugin

from edged.errors import BadPicture, EdgedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEBP = WebPImagePlugin.WebPImageFile.format  # named so: Pillow registers it only when it is imported
FORMATS = ("PNG", "BMP", "GIF", "JPEG", WEBP)

Image.MAX_IMAGE_PIXELS = None  # the configured cap is asked instead, once the header is read


def decode(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[np.uint8]:
    """The picture as it is seen: (H, W, 3) RGB or (H, W) gray.

    `check_size` sees width and height before any pixel is decoded, and raises. Raises BadPicture, TooLarge.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size)
            image.load()
            return _pixels(ImageOps.exif_transpose(image))
    except EdgedError:
        raise
    except UnidentifiedImageError as exc:
        raise BadPicture("not a JPEG, PNG, WebP, BMP or GIF") from exc
    except Exception as exc:  # its decoders raise OSError, SyntaxError, struct.error, EOFError …
        raise BadPicture(f"the image cannot be decoded: {exc}") from exc


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode in ("I", "F"):
        raise BadPicture(f"pixels of mode {image.mode} (32 bit) have no agreed range")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        on_black: NDArray[np.uint16] = rgba[:, :, :3].astype(np.uint16) * rgba[:, :, 3:] // 255
        return on_black.astype(np.uint8)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
