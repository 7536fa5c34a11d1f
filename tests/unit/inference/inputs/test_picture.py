from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edged.errors import BadPicture, EdgedError, TooLarge
from edged.inference.config import InferenceConfig
from edged.inference.inputs.jpeg import Header
from edged.inference.inputs.picture import SCANS_MAX, ImageDecoder, shrink, upright
from edged.inference.manifest import ImageInput
from edged.inference.request import Raw
from edged.inference.values import Layout, Placement
from tests.rig.images import Pixels, exif, file, jpeg, photograph, sized

PHOTO = sized(photograph("chelsea"), 96, 64)
SIZES = {Layout.RGB: 3, Layout.BGR: 3, Layout.RGBA: 4, Layout.GRAY: 1, Layout.YUYV: 2, Layout.NV12: 1.5}


def decoder(**settings: int) -> ImageDecoder:
    return ImageDecoder(InferenceConfig(**settings))  # type: ignore[arg-type] # every setting used here is an int


def decoded(data: bytes) -> Pixels:
    return decoder().encoded(data).picture.pixels


def difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


class TestJpeg:
    def test_a_photograph_comes_out_as_it_went_in(self) -> None:
        seen = decoder().encoded(jpeg(PHOTO, quality=95))
        assert seen.picture.layout is Layout.RGB
        assert (seen.width, seen.height, seen.factor) == (96, 64, 1)
        assert difference(seen.picture.pixels, PHOTO) < 3.0

    def test_a_gray_one_stays_gray(self) -> None:
        seen = decoder().encoded(jpeg(PHOTO[:, :, 1], quality=95))
        assert seen.picture.layout is Layout.GRAY
        assert difference(seen.picture.pixels, PHOTO[:, :, 1]) < 3.0

    def test_a_model_that_sees_gray_is_given_the_luma(self) -> None:
        seen = decoder().encoded(jpeg(PHOTO, quality=95), ImageInput(width=96, height=64, colour="gray"))
        assert seen.picture.layout is Layout.GRAY
        assert difference(seen.picture.pixels, np.asarray(Image.fromarray(PHOTO).convert("L"))) < 3.0

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_exif_orientation_is_seen_upright(self, orientation: int) -> None:
        upside = {value: key for key, value in _TRANSPOSED.items()}
        stored = (
            PHOTO if orientation == 1 else np.asarray(Image.fromarray(PHOTO).transpose(upside[orientation]))
        )
        seen = decoder().encoded(jpeg(stored, quality=95, orientation=orientation))
        assert (seen.width, seen.height) == (96, 64)
        assert difference(seen.picture.pixels, PHOTO) < 3.0
        assert seen.picture.pixels.flags.c_contiguous

    @pytest.mark.parametrize("inverted", [False, True])
    def test_a_printer_s_cmyk_is_shown_in_its_colours(self, inverted: bool) -> None:  # noqa: FBT001 - a table column
        image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        data = file(image, "JPEG", quality=95)
        if inverted:
            assert b"Adobe" in data, "Pillow writes inverted CMYK with an Adobe marker"
        assert difference(decoded(data), np.full((16, 16, 3), (255, 0, 0), np.uint8)) < 4.0

    def test_ycck_is_not_taken_for_rgb(self) -> None:
        data = file(Image.new("CMYK", (16, 16), (255, 0, 255, 0)), "JPEG", quality=95)
        at = data.index(b"Adobe")
        ycck = data[: at + 11] + b"\x02" + data[at + 12 :]  # APP14 transform 2
        assert decoded(ycck).shape == (16, 16, 3)

    def test_the_buffer_is_reused_and_a_larger_picture_still_fits(self) -> None:
        images = decoder()
        first = images.encoded(jpeg(PHOTO)).picture.pixels
        second = images.encoded(jpeg(PHOTO)).picture.pixels
        assert np.shares_memory(first, second)
        large = images.encoded(jpeg(photograph("astronaut"), quality=95)).picture.pixels
        assert difference(large, photograph("astronaut")) < 3.0

    def test_a_shared_mapping_is_copied_before_it_is_decoded(self) -> None:
        data = bytearray(jpeg(PHOTO, quality=95))
        assert difference(decoder().encoded(memoryview(data)).picture.pixels, PHOTO) < 3.0

    @given(st.data())
    def test_truncated_anywhere_it_is_refused(self, data: st.DataObject) -> None:
        whole = jpeg(PHOTO)
        with pytest.raises(BadPicture):
            decoder().encoded(whole[: data.draw(st.integers(0, len(whole) - 3))])

    @given(st.integers(2, 4000), st.binary(min_size=1, max_size=20))
    def test_damaged_anywhere_it_is_decoded_or_refused(self, at: int, noise: bytes) -> None:
        whole = jpeg(PHOTO)
        try:
            seen = decoder().encoded(whole[:at] + noise + whole[at + len(noise) :])
        except EdgedError:
            return
        assert seen.picture.pixels.dtype == np.uint8

    def test_a_progressive_one_with_a_scan_bomb_is_refused(self) -> None:
        whole = file(Image.fromarray(PHOTO), "JPEG", progressive=True)
        assert difference(decoded(whole), PHOTO) < 8.0
        scan = whole.rindex(b"\xff\xda")
        with pytest.raises(BadPicture, match="progressive scans"):
            decoder().encoded(whole[:scan] + whole[scan:-2] * (SCANS_MAX + 1) + b"\xff\xd9")

    def test_a_header_that_claims_more_pixels_than_the_cap_costs_no_memory(self) -> None:
        whole = bytearray(jpeg(PHOTO))
        frame = whole.index(b"\xff\xc0")
        whole[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
        with pytest.raises(TooLarge, match="65000x65000 is over the cap"):
            decoder().encoded(bytes(whole))

    def test_a_second_frame_header_that_is_larger_is_not_decoded_past_the_first(self) -> None:
        whole = jpeg(PHOTO)
        frame = whole.index(b"\xff\xc0")
        second = bytearray(whole[frame : frame + 19])
        second[5:9] = struct.pack(">HH", 4000, 4000)
        with pytest.raises(BadPicture):
            decoder().encoded(whole[: frame + 19] + bytes(second) + whole[frame + 19 :])


_TRANSPOSED = {
    Image.Transpose.FLIP_LEFT_RIGHT: 2,
    Image.Transpose.ROTATE_180: 3,
    Image.Transpose.FLIP_TOP_BOTTOM: 4,
    Image.Transpose.TRANSPOSE: 5,
    Image.Transpose.ROTATE_90: 6,
    Image.Transpose.TRANSVERSE: 7,
    Image.Transpose.ROTATE_270: 8,
}


class TestScaledDecode:
    @pytest.mark.parametrize(
        ("size", "side", "fit", "factor"),
        [
            ((640, 480), 128, "stretch", 2),
            ((640, 480), 128, "letterbox", 4),
            ((640, 480), 128, "crop", 2),
            ((640, 480), 320, "letterbox", 2),
            ((640, 480), 321, "letterbox", 1),
            ((1920, 1080), 128, "letterbox", 8),
            ((100, 100), 224, "letterbox", 1),
            ((10_000, 10), 128, "letterbox", 8),
            ((10_000, 10), 128, "crop", 1),
        ],
    )
    def test_a_picture_is_decoded_no_smaller_than_it_is_needed(
        self, size: tuple[int, int], side: int, fit: str, factor: int
    ) -> None:
        wanted = ImageInput(width=side, height=side, fit=fit)  # type: ignore[arg-type] # a table column
        assert shrink(Header(*size, 3, False, 1), wanted) == factor

    @pytest.mark.parametrize("orientation", [1, 6])
    def test_places_are_those_of_the_full_picture(self, orientation: int) -> None:
        stored = photograph("astronaut")[:400]
        wanted = ImageInput(width=128, height=128, fit="stretch")
        seen = decoder().encoded(jpeg(stored, orientation=orientation), wanted)
        assert seen.factor == 2
        assert (seen.width, seen.height) == ((512, 400) if orientation == 1 else (400, 512))
        assert (seen.picture.width, seen.picture.height) == (seen.width // 2, seen.height // 2)
        placed = seen.placed(Placement(0.5, 0.25, 3.0, 5.0))
        assert placed.to_picture(*_forward(placed, 100.0, 200.0)) == pytest.approx((100.0, 200.0))
        assert placed.scale_x == 0.25
        assert placed.scale_y == 0.125


def _forward(placement: Placement, x: float, y: float) -> tuple[float, float]:
    return x * placement.scale_x + placement.offset_x, y * placement.scale_y + placement.offset_y


class TestOtherFormats:
    @pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
    def test_lossless_ones_come_out_exactly(self, form: str) -> None:
        options = {"lossless": True} if form == "WEBP" else {}
        np.testing.assert_array_equal(decoded(file(Image.fromarray(PHOTO), form, **options)), PHOTO)

    def test_a_palette_becomes_its_colours(self) -> None:
        image = Image.fromarray(PHOTO).convert("P", palette=Image.Palette.ADAPTIVE)
        np.testing.assert_array_equal(decoded(file(image, "PNG")), np.asarray(image.convert("RGB")))

    def test_one_bit_becomes_black_and_white(self) -> None:
        image = Image.fromarray(PHOTO).convert("1")
        np.testing.assert_array_equal(decoded(file(image, "PNG")), np.asarray(image).astype(np.uint8) * 255)

    def test_sixteen_bits_become_the_upper_eight(self) -> None:
        deep = (np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) * 16).astype(np.uint16)
        np.testing.assert_array_equal(
            decoded(file(Image.fromarray(deep), "PNG")), (deep >> 8).astype(np.uint8)
        )

    def test_sixteen_bit_colour_becomes_the_upper_eight(self) -> None:
        deep = np.arange(8 * 8 * 3, dtype=np.uint16).reshape(8, 8, 3) * 300
        np.testing.assert_array_equal(decoded(_png16(deep)), (deep >> 8).astype(np.uint8))

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_what_is_transparent_is_black_and_never_what_was_hidden_under_it(self, mode: str) -> None:
        image = Image.fromarray(PHOTO).convert(mode)
        image.putalpha(Image.new("L", image.size, 0))
        assert not decoded(file(image, "PNG")).any()

    def test_a_transparent_palette_entry_is_black(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([250, 240, 230] + [0] * 765)
        assert not decoded(file(image, "PNG", transparency=0)).any()

    def test_only_the_first_frame_of_an_animation_counts(self) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        data = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(decoded(data), np.full((8, 8, 3), (255, 0, 0), np.uint8))

    def test_png_orientation_is_applied_too(self) -> None:
        stored = np.ascontiguousarray(np.rot90(PHOTO))  # counter-clockwise; 6 turns it clockwise
        data = file(Image.fromarray(stored), "PNG", exif=exif(6)[6:])
        np.testing.assert_array_equal(decoded(data), PHOTO)

    @pytest.mark.parametrize(
        "data", [b"", b"\0" * 100, b"GIF89a", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(60)]
    )
    def test_what_is_no_picture_is_refused(self, data: bytes) -> None:
        with pytest.raises(BadPicture):
            decoder().encoded(data)

    def test_formats_that_open_other_files_or_programs_are_not_read(self) -> None:
        for data in (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"P6 1 1 255 abc",
            b"II*\0" + bytes(100),
        ):
            with pytest.raises(BadPicture, match="not a JPEG, PNG, WebP, BMP or GIF"):
                decoder().encoded(data)

    def test_a_truncated_png_is_refused(self) -> None:
        whole = file(Image.fromarray(PHOTO), "PNG")
        with pytest.raises(BadPicture, match="cannot be decoded"):
            decoder().encoded(whole[: len(whole) // 2])

    def test_a_png_bomb_costs_its_header(self) -> None:
        with pytest.raises(TooLarge, match="image_max_pixels"):
            decoder().encoded(_png_claiming(60_000, 60_000))

    def test_a_gif_whose_frame_is_larger_than_its_screen_is_held_to_the_cap(self) -> None:
        whole = bytearray(file(Image.new("RGB", (8, 8)), "GIF"))
        at = whole.index(b"\x2c\0\0\0\0")
        whole[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
        with pytest.raises(TooLarge, match="image_max_pixels"):
            decoder().encoded(bytes(whole))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png_claiming(width: int, height: int, depth: int = 8, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _png16(deep: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    return _png_claiming(deep.shape[1], deep.shape[0], 16, rows)


class TestCaps:
    def test_more_bytes_than_the_cap_are_refused(self) -> None:
        with pytest.raises(TooLarge, match="image_max_bytes"):
            decoder(image_max_bytes=1024).encoded(bytes(1025))

    def test_more_pixels_than_the_cap_are_refused_in_every_format(self) -> None:
        images = decoder(image_max_pixels=96 * 64 - 1)
        for data in (jpeg(PHOTO), file(Image.fromarray(PHOTO), "PNG")):
            with pytest.raises(TooLarge, match="image_max_pixels"):
                images.encoded(data)
        with pytest.raises(TooLarge, match="image_max_pixels"):
            images.raw(Raw(Layout.RGB, 96, 64, PHOTO.tobytes()))


class TestRaw:
    @pytest.mark.parametrize("layout", list(Layout))
    def test_the_picture_is_the_memory_itself(self, layout: Layout) -> None:
        data = bytearray(int(8 * 6 * SIZES[layout]))
        seen = decoder().raw(Raw(layout, 8, 6, memoryview(data).toreadonly()))
        assert seen.picture.pixels.shape == layout.shape(6, 8)
        data[0] = 77
        assert seen.picture.pixels.reshape(-1)[0] == 77
        assert not seen.picture.pixels.flags.writeable

    @pytest.mark.parametrize("layout", list(Layout))
    @pytest.mark.parametrize("off", [-1, 1])
    def test_one_byte_too_few_or_too_many_is_refused(self, layout: Layout, off: int) -> None:
        with pytest.raises(BadPicture, match=f"{layout.value} of 8x6 is"):
            decoder().raw(Raw(layout, 8, 6, bytes(int(8 * 6 * SIZES[layout]) + off)))

    @pytest.mark.parametrize(
        ("layout", "width", "height", "says"),
        [
            (Layout.NV12, 7, 6, "nv12 has an even width, not 7"),
            (Layout.NV12, 8, 5, "nv12 has an even height, not 5"),
            (Layout.YUYV, 7, 6, "yuyv has an even width, not 7"),
            (Layout.RGB, 0, 6, "no picture is 0x6"),
            (Layout.RGB, 8, -6, "no picture is 8x-6"),
            (Layout.RGB, 1 << 40, 1, "no picture is"),
        ],
    )
    def test_a_size_that_makes_no_sense_is_refused_by_name(
        self, layout: Layout, width: int, height: int, says: str
    ) -> None:
        with pytest.raises(BadPicture, match=says):
            decoder().raw(Raw(layout, width, height, b""))

    def test_a_view_that_skips_bytes_is_refused(self) -> None:
        with pytest.raises(BadPicture, match="contiguous"):
            decoder().raw(Raw(Layout.GRAY, 4, 4, memoryview(bytes(32))[::2]))

    def test_a_view_that_was_released_is_refused(self) -> None:
        view = memoryview(bytes(16))
        view.release()
        with pytest.raises(BadPicture, match="released"):
            decoder().raw(Raw(Layout.GRAY, 4, 4, view))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 8))
def test_turning_upright_loses_no_pixel(height: int, width: int, orientation: int) -> None:
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    turned = upright(pixels, orientation)
    assert sorted(turned.reshape(-1)) == sorted(pixels.reshape(-1))
    assert turned.shape == ((width, height) if orientation >= 5 else (height, width))
