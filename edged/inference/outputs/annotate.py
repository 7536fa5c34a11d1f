"""Draw a finding into its picture. Import it when that is asked for: Pillow is 9 MB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edged.inference.kernels.seam import Target
from edged.inference.outputs.decoders import describe
from edged.inference.values import Labels, Layout, Objects, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.inference.kernels.seam import Kernels

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLOURS = ((230, 57, 70), (29, 128, 220), (42, 157, 83), (244, 140, 6), (131, 56, 236), (0, 150, 160))
"""A label keeps its colour within a picture; each is readable under white text."""
SIDE_MAX = 1280
"""A camera's full picture as PNG would be 20 MB, and models see less."""
DRAWN_MAX = 200
"""Objects drawn, surest first: a thousand boxes hide the picture."""


def draw(pixels: NDArray[np.uint8], finding: Labels | Objects) -> bytes:
    """(H, W, 3) RGB with boxes, keypoints and scores drawn in, as PNG; labels go in a line at the top.

    The PNG is at most SIDE_MAX pixels a side.
    """
    image = Image.fromarray(pixels)
    scale = min(1.0, SIDE_MAX / max(image.size))
    if scale < 1.0:
        image = image.resize((round(image.width * scale), round(image.height * scale)), reducing_gap=2.0)
    canvas = ImageDraw.Draw(image)
    thick = max(2, min(image.size) // 160)
    font = ImageFont.load_default(size=max(11, min(image.size) // 24))
    if isinstance(finding, Labels):
        _tag(canvas, (0, 0), describe(finding), COLOURS[1], font)
    else:
        _objects(canvas, finding, scale, thick, font)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)  # three times faster than the default, a tenth larger
    return out.getvalue()


def rgb(picture: Picture, kernels: Kernels) -> NDArray[np.uint8]:
    """A picture of any layout as (H, W, 3) RGB of its own."""
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    match picture.layout:
        case Layout.RGB:
            out[...] = picture.pixels
        case Layout.GRAY:
            out[...] = picture.pixels[:, :, None]
        case _:
            same = Target(
                picture.height, picture.width, "rgb", "stretch", 0.0, (0.0,), (1.0,), out.dtype, 1.0, 0
            )
            kernels.fit(picture, same, out)
    return out


def _objects(canvas: ImageDraw.ImageDraw, finding: Objects, scale: float, thick: int, font: Font) -> None:
    colours: dict[str, tuple[int, int, int]] = {}
    for found in reversed(finding.objects[:DRAWN_MAX]):  # the surest on top
        colour = colours.setdefault(found.label, COLOURS[len(colours) % len(COLOURS)])
        x0, y0, x1, y1 = (side * scale for side in (found.box.x0, found.box.y0, found.box.x1, found.box.y1))
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=thick)
        for point in found.keypoints:
            canvas.circle((point.x * scale, point.y * scale), thick * 1.5, fill=colour)
        _tag(canvas, (x0, y0), f"{found.label} {found.score:.2f}", colour, font)


def _tag(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: Font,
) -> None:
    """Text on its colour, above the corner where there is room, else inside."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    wide, high = right - left + 8, bottom - top + 6
    y = corner[1] - high if corner[1] >= high else corner[1]
    canvas.rectangle((corner[0], y, corner[0] + wide, y + high), fill=colour)
    canvas.text((corner[0] + 4 - left, y + 3 - top), text, fill=(255, 255, 255), font=font)
