"""What a JPEG says of itself before its pixels: size, components, orientation. Pure, bounds-checked.

ITU-T T.81 annex B (markers) and CIPA DC-008 (Exif 2.32), section 4.6 (TIFF header, IFD0).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from edged.errors import BadPicture

SEGMENTS_MAX = 512
"""Segments before the first scan; cameras write ten to sixty."""

_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length: TEM, RST0-7, SOI
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG, DAC
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_ORIENTATION, _SHORT = 0x0112, 3


class Header(NamedTuple):
    """As stored: before the orientation (1 to 8, as in Exif) is applied."""

    width: int
    height: int
    components: int
    progressive: bool
    orientation: int


def read_header(data: bytes) -> Header:
    """The header of a JPEG; raises BadPicture where there is none up to the first scan."""
    orientation = 1
    frame: tuple[int, int, int, bool] | None = None
    at = 2
    for _ in range(SEGMENTS_MAX):
        at = data.find(b"\xff", at)
        while 0 <= at < len(data) and data[at] == 0xFF:  # any number of fill bytes
            at += 1
        if at < 0 or at + 3 > len(data):
            break
        marker = data[at]
        at += 1
        if marker in _BARE or marker == 0x00:
            continue
        length = data[at] << 8 | data[at + 1]
        if marker in (_SOS, _EOI) or length < 2:
            break
        if marker == _APP1 and data[at + 2 : at + 8] == b"Exif\0\0":
            orientation = exif_orientation(data[at + 8 : at + length])
        elif marker in _FRAMES and frame is None and at + 8 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            frame = width, height, components, marker in _PROGRESSIVE
        at += length
    if frame is None:
        raise BadPicture("JPEG: no frame header before the first scan")
    return Header(*frame, orientation)


def exif_orientation(tiff: bytes) -> int:
    """The orientation in a TIFF header's first directory; 1 where there is none or it makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    entries = min(entries, (len(tiff) - start - 2) // 12)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, at)
        if tag == _ORIENTATION:
            return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else 1
    return 1
