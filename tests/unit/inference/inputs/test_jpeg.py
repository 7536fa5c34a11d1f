from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edged.errors import BadPicture
from edged.inference.inputs.jpeg import SEGMENTS_MAX, exif_orientation, read_header
from tests.rig.images import exif, file, jpeg, photograph, sized, with_app1

SMALL = sized(photograph("chelsea"), 40, 24)


def test_a_header_tells_size_components_and_orientation() -> None:
    assert read_header(jpeg(SMALL)) == (40, 24, 3, False, 1)
    assert read_header(jpeg(SMALL[:, :, 0], orientation=6)) == (40, 24, 1, False, 6)


def test_a_progressive_jpeg_says_so() -> None:
    assert read_header(file(Image.fromarray(SMALL), "JPEG", progressive=True)).progressive


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_byte_orders_of_exif_are_read(orientation: int, order: str) -> None:
    assert exif_orientation(exif(orientation, order)[6:]) == orientation


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_is_upright(orientation: int) -> None:
    assert exif_orientation(exif(orientation)[6:]) == 1


def test_an_exif_directory_that_points_outside_is_ignored() -> None:
    assert exif_orientation(b"II*\0" + struct.pack("<I", 0xFFFFFFF0) + bytes(64)) == 1


def test_an_exif_directory_that_claims_more_entries_than_it_has_is_read_as_far_as_it_goes() -> None:
    tiff = bytearray(exif(3)[6:])
    tiff[8:10] = b"\xff\xff"
    assert exif_orientation(bytes(tiff)) == 3


@given(st.binary(max_size=200))
def test_no_exif_bytes_do_more_than_say_one_to_eight(tiff: bytes) -> None:
    assert 1 <= exif_orientation(tiff) <= 8
    assert 1 <= exif_orientation(b"II*\0" + tiff) <= 8
    assert 1 <= exif_orientation(b"MM\0*" + tiff) <= 8


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(tail: bytes) -> None:
    try:
        header = read_header(b"\xff\xd8\xff" + tail)
    except BadPicture:
        return
    assert 0 <= header.width <= 65535
    assert 0 <= header.height <= 65535


@given(st.data())
def test_a_jpeg_cut_anywhere_is_refused_or_read(data: st.DataObject) -> None:
    whole = jpeg(SMALL, orientation=5)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        assert read_header(cut)[:2] == (40, 24)
    except BadPicture:
        assert b"\xff\xda" not in cut


def test_a_jpeg_of_nothing_but_segments_is_given_up_on() -> None:
    segment = b"\xff\xfe\x00\x02"
    with pytest.raises(BadPicture, match="no frame header"):
        read_header(b"\xff\xd8" + segment * (SEGMENTS_MAX + 1) + jpeg(SMALL)[2:])


def test_a_thumbnail_inside_exif_is_not_taken_for_the_picture() -> None:
    thumbnail = jpeg(sized(SMALL, 8, 8), quality=20)
    whole = with_app1(jpeg(SMALL), exif(6) + thumbnail)
    assert read_header(whole) == (40, 24, 3, False, 6)
