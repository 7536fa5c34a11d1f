"""Real models, real inputs, through the scheduler."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edged.errors import BadArgument, BadOutput, BadPicture, BadSound, EdgedError, NotFound, TooLarge
from edged.inference.models.library import Library
from edged.inference.request import Encoded, Given, GivenTensors, Numbers, Pcm, Raw
from edged.inference.values import Answer, Box, Deviation, Heard, Labels, Layout, Objects, Score, TensorList
from tests.rig import room, weights
from tests.rig.images import file, jpeg, photograph, sized
from tests.rig.room import Room, scenario
from tests.rig.sounds import packed, tone, wav

ASTRONAUT = (180.0, 82.0, 274.0, 176.0)
"""Where her face is."""
DEMO = weights.CHECKOUT / "models" / "demo"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Library:
    shelf = room.library(tmp_path_factory.mktemp("library"))
    fetched = weights.fetched()
    for name in ("face", "okay_nabu", "alexa"):
        room.install(shelf, fetched / name)
    room.install_linear(shelf)
    room.install_linear(
        shelf, "reading", output='kind = "anomaly"\nthreshold = 1.0', weights=[[0, 0], [0, 1]]
    )
    room.install_linear(shelf, "overflowing", weights=[[1e30, 1e30], [0, 0]])
    room.install_tensors(shelf, "bare")
    return shelf


async def look(here: Room, given: Given, model: str = "face", **options: Any) -> Answer:
    return await here.scheduler.submit(room.request(model, given=given, **options))


def faces(answer: Answer) -> Objects:
    assert isinstance(answer.finding, Objects)
    return answer.finding


def heard(answer: Answer) -> Heard:
    assert isinstance(answer.finding, Heard)
    return answer.finding


def overlap(box: Box, other: Sequence[float]) -> float:
    wide = min(box.x1, other[2]) - max(box.x0, other[0])
    high = min(box.y1, other[3]) - max(box.y0, other[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / (
        (box.x1 - box.x0) * (box.y1 - box.y0) + (other[2] - other[0]) * (other[3] - other[1]) - both
    )


def nv12(pixels: np.ndarray) -> bytes:
    """BT.601 limited range, as a camera gives it."""
    y, cb, cr = (np.asarray(c, float) for c in Image.fromarray(pixels).convert("YCbCr").split())
    chroma = np.stack((cb[::2, ::2], cr[::2, ::2]), axis=2).reshape(pixels.shape[0] // 2, -1)
    limited = np.concatenate((16 + y * 219 / 255, 128 + (chroma - 128) * 224 / 255))
    return bytes(np.rint(limited).astype(np.uint8))


@scenario()
async def test_the_face_is_found_in_every_form_a_picture_comes_in(here: Room) -> None:
    pixels = photograph("astronaut")
    sixteen = np.concatenate((pixels, np.zeros((512, 512, 1), np.uint8)), axis=2)
    forms: list[Given] = [
        Encoded(jpeg(pixels)),
        Encoded(memoryview(bytearray(jpeg(pixels)))),
        Encoded(file(Image.fromarray(pixels), "PNG")),
        Encoded(file(Image.fromarray(pixels), "WEBP", quality=90)),
        Raw(Layout.RGB, 512, 512, memoryview(bytearray(pixels.tobytes())).toreadonly()),
        Raw(Layout.BGR, 512, 512, np.ascontiguousarray(pixels[:, :, ::-1]).tobytes()),
        Raw(Layout.RGBA, 512, 512, sixteen.tobytes()),
        Raw(Layout.NV12, 512, 512, nv12(pixels)),
    ]
    for given in forms:
        found = faces(await look(here, given))
        assert (found.width, found.height) == (512, 512)
        assert len(found.objects) == 1
        assert found.objects[0].score >= 0.85
        assert overlap(found.objects[0].box, ASTRONAUT) >= 0.8
        assert [p.name for p in found.objects[0].keypoints][:3] == ["right_eye", "left_eye", "nose"]


@scenario()
async def test_no_face_is_found_where_there_is_none(here: Room) -> None:
    for name in ("chelsea", "coffee", "rocket"):
        found = faces(await look(here, Encoded(jpeg(photograph(name)))))
        assert all(o.score < 0.6 for o in found.objects), name


@scenario()
async def test_places_are_those_of_the_picture_as_it_is_seen(here: Room) -> None:
    lying = np.ascontiguousarray(
        np.rot90(photograph("astronaut"))
    )  # stored on its side; orientation 6 turns it back
    found = faces(await look(here, Encoded(jpeg(lying, orientation=6))))
    assert overlap(found.objects[0].box, ASTRONAUT) >= 0.8


@scenario()
async def test_a_large_picture_is_decoded_small_and_answered_in_its_own_pixels(here: Room) -> None:
    large = sized(photograph("astronaut"), 2048, 2048)
    found = faces(await look(here, Encoded(jpeg(large))))
    assert (found.width, found.height) == (2048, 2048)
    assert overlap(found.objects[0].box, [4 * side for side in ASTRONAUT]) >= 0.8


@scenario()
async def test_the_annotated_picture_is_a_png_of_the_picture_with_the_face_marked(here: Room) -> None:
    pixels = photograph("astronaut")
    answer = await look(here, Encoded(file(Image.fromarray(pixels), "PNG")), annotate=True)
    assert answer.annotated_png is not None
    drawn = np.asarray(Image.open(io.BytesIO(answer.annotated_png)))
    changed = (drawn != pixels).any(axis=2)
    assert changed[82:177, 178:184].any()
    assert not changed[300:, :].any()
    assert (await look(here, Encoded(jpeg(pixels)))).annotated_png is None


@scenario()
async def test_every_stage_is_timed(here: Room) -> None:
    stages = (await look(here, Encoded(jpeg(photograph("astronaut"))))).stages
    assert stages.decode_ms > 0
    assert stages.preprocess_ms > 0
    assert stages.invoke_ms > 0
    assert stages.postprocess_ms > 0
    assert stages.queue_ms >= 0


@scenario()
async def test_wake_words_are_told_apart(here: Room) -> None:
    for word in ("okay_nabu", "alexa"):
        recording = Encoded((DEMO / f"{word}.wav").read_bytes())
        for model in ("okay_nabu", "alexa"):
            found = heard(await look(here, recording, model))
            if model == word:
                assert found.scores[0].score >= 0.9
                assert [hit.label for hit in found.heard] == [word]
                assert 0.0 < found.heard[0].at_s < found.seconds + 0.1
            else:
                assert found.scores[0].score <= 0.1
                assert found.heard == []


@scenario()
async def test_a_recording_is_judged_whole_and_the_same_each_time(here: Room) -> None:
    recording = Encoded((DEMO / "okay_nabu.wav").read_bytes())
    answers = [heard(await look(here, recording, "okay_nabu")) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("rate_hz", "bits", "channels"), [(44_100, 24, 2), (48_000, 16, 1), (8_000, 16, 1), (16_000, 32, 8)]
)
@scenario()
async def test_the_word_is_heard_at_other_rates_and_channels(
    here: Room, rate_hz: int, bits: int, channels: int
) -> None:
    samples = _demo("okay_nabu")
    at = np.arange(round(samples.size * rate_hz / 16_000)) * 16_000 / rate_hz
    other = np.interp(at, np.arange(samples.size), samples)
    body = packed(np.repeat(other[:, None], channels, axis=1), bits)
    found = heard(
        await look(here, Encoded(wav(body, rate_hz=rate_hz, bits=bits, channels=channels)), "okay_nabu")
    )
    assert found.heard, rate_hz
    assert found.seconds == pytest.approx(samples.size / 16_000, abs=0.01)


def _demo(word: str) -> np.ndarray:
    return np.frombuffer((DEMO / f"{word}.wav").read_bytes()[44:], "<i2") / 32768


@pytest.mark.parametrize("piece", [160, 1000, 16_000])
@scenario()
async def test_a_stream_in_pieces_hears_what_the_whole_does(here: Room, piece: int) -> None:
    body = packed(_demo("okay_nabu"), 16)
    whole = heard(await look(here, Pcm(16_000, body), "okay_nabu"))
    hits, best = [], 0.0
    for start in range(0, len(body), piece * 2):
        part = heard(
            await look(here, Pcm(16_000, body[start : start + piece * 2]), "okay_nabu", stream="mic")
        )
        hits += part.heard
        best = max(best, part.scores[0].score)
    assert best == whole.scores[0].score
    assert [hit.at_s for hit in hits] == pytest.approx([hit.at_s for hit in whole.heard], abs=0.2)


@scenario()
async def test_streams_do_not_hear_each_other_nor_the_recordings_between(here: Room) -> None:
    body = packed(_demo("okay_nabu"), 16)
    half = len(body) // 4 * 2

    async def piece(part: bytes, peer: str, stream: str | None) -> Heard:
        return heard(await look(here, Pcm(16_000, part), "okay_nabu", peer=peer, stream=stream))

    first = await piece(body[:half], "a", "mic")
    await piece(packed(tone(700, 16_000, 0.5), 16), "b", "mic")
    await piece(packed(tone(300, 16_000, 0.5), 16), "a", "other")
    await piece(body, "a", None)
    second = await piece(body[half:], "a", "mic")
    assert len(first.heard + second.heard) == 1
    assert {status.streams for status in here.scheduler.status().models if status.name == "okay_nabu"} == {3}


@scenario()
async def test_a_stream_that_changes_its_rate_is_refused_by_name(here: Room) -> None:
    await look(here, Pcm(48_000, bytes(9600)), "okay_nabu", stream="mic")
    with pytest.raises(BadSound, match="began at 48000 Hz"):
        await look(here, Pcm(44_100, bytes(9600)), "okay_nabu", stream="mic")
    await look(here, Pcm(48_000, bytes(9600)), "okay_nabu", stream="mic")


@scenario()
async def test_numbers_are_read_by_name_and_in_order(here: Room) -> None:
    expected = Labels([Score("right", 3.0), Score("left", 2.0)])
    assert (await look(here, Numbers({"b": 3.0, "a": 2.0}), "tiny")).finding == expected
    assert (await look(here, Numbers([2.0, 3.0]), "tiny")).finding == expected


@scenario()
async def test_an_anomaly_says_which_reading_carries_it(here: Room) -> None:
    fine = (await look(here, Numbers([0.1, 5.0]), "reading")).finding
    odd = (await look(here, Numbers([4.0, 5.0]), "reading")).finding
    assert isinstance(fine, Deviation)
    assert isinstance(odd, Deviation)
    assert not fine.anomalous
    assert odd == Deviation(8.0, 1.0, anomalous=True, contributions=[Score("a", 1.0), Score("b", 0.0)])


@scenario()
async def test_tensors_go_in_and_out_as_they_are(here: Room) -> None:
    found = (await look(here, GivenTensors([[1.0, -2.0]]), "bare")).finding
    assert isinstance(found, TensorList)
    assert found.tensors[0].shape == [1, 2]
    assert found.tensors[0].values == [1.0, -2.0]


@scenario()
async def test_an_output_that_overflows_is_an_error_and_never_a_null(here: Room) -> None:
    with pytest.raises(BadOutput, match="model overflowing: output tensor"):
        await look(here, Numbers([1e30, 1e30]), "overflowing")
    assert isinstance((await look(here, Numbers([1.0, 1.0]), "overflowing")).finding, Labels)


HOSTILE: list[tuple[str, Given, dict[str, object], type[EdgedError], str]] = [
    ("face", Encoded(b""), {}, BadPicture, "not a JPEG"),
    ("face", Encoded(b"\xff\xd8\xff" + bytes(1000)), {}, BadPicture, "JPEG"),
    ("face", Encoded(bytes(17 << 20)), {}, TooLarge, "image_max_bytes"),
    ("face", Raw(Layout.NV12, 641, 480, bytes(100)), {}, BadPicture, "even width"),
    ("face", Raw(Layout.RGB, 60_000, 60_000, bytes(100)), {}, TooLarge, "image_max_pixels"),
    ("face", Raw(Layout.RGB, 640, 480, bytes(100)), {}, BadPicture, "is 921600 bytes, got 100"),
    ("face", Numbers([1.0]), {}, BadArgument, "takes image input, not numbers"),
    ("face", Pcm(16_000, b""), {}, BadArgument, "takes image input, not pcm"),
    ("face", Encoded(b""), {"stream": "mic"}, BadArgument, r"\$.stream: means nothing to face"),
    ("okay_nabu", Encoded(b"RIFFxxxxWAVE"), {}, BadSound, "truncated"),
    ("okay_nabu", Pcm(16_000, bytes(3)), {}, BadSound, "pairs of bytes"),
    ("okay_nabu", Pcm(1, bytes(4)), {}, BadSound, "1 Hz"),
    ("okay_nabu", Pcm(8_000, bytes(16_000 * 61)), {}, TooLarge, "sound_max_s"),
    ("okay_nabu", Raw(Layout.RGB, 1, 1, bytes(3)), {}, BadArgument, "takes audio input, not raw"),
    ("okay_nabu", Pcm(16_000, b""), {"top_k": 3}, BadArgument, r"\$.top_k: means nothing"),
    ("okay_nabu", Pcm(16_000, b""), {"annotate": True}, BadArgument, r"\$.annotate"),
    ("tiny", Numbers([1.0]), {}, BadArgument, "expected 2 numbers, got 1"),
    ("tiny", Numbers({"a": 1.0}), {}, BadArgument, r"\$.values.b: required"),
    ("tiny", Numbers([1.0, float("nan")]), {}, BadArgument, "NaN"),
    ("tiny", GivenTensors([[1.0, 2.0]]), {}, BadArgument, "takes vector input"),
    ("tiny", Numbers([1.0, 2.0]), {"variant": "huge"}, NotFound, "no variant 'huge'; it has f32"),
    ("bare", GivenTensors([]), {}, BadArgument, "expected 1 tensors, got 0"),
    ("bare", GivenTensors([[1.0]]), {}, BadArgument, r"\$.tensors\[0\]: expected 2 numbers"),
    ("bare", GivenTensors([[1.0, float("inf")]]), {}, BadArgument, "infinity"),
    ("bare", GivenTensors([[1.0, 1.0]]), {"threshold": 0.5}, BadArgument, r"\$.threshold: means nothing"),
    ("nobody", Numbers([1.0]), {}, NotFound, "no model nobody serves here; those that do: alexa, bare"),
]


@scenario()
async def test_every_bad_input_is_refused_by_name_and_the_model_keeps_answering(here: Room) -> None:
    for model, given, options, error, says in HOSTILE:
        with pytest.raises(error, match=says):
            await look(here, given, model, **options)
    assert len(faces(await look(here, Encoded(jpeg(photograph("astronaut"))))).objects) == 1
    assert heard(await look(here, Pcm(16_000, packed(_demo("okay_nabu"), 16)), "okay_nabu")).heard
    assert isinstance((await look(here, Numbers([1.0, 2.0]), "tiny")).finding, Labels)


@scenario()
async def test_a_frame_written_to_while_it_is_read_is_torn_and_harmless(here: Room) -> None:
    pixels = photograph("astronaut")
    frame = bytearray(pixels.tobytes())
    given = Raw(Layout.RGB, 512, 512, memoryview(frame).toreadonly())

    async def scribble() -> None:
        for turn in range(200):
            frame[:] = pixels.tobytes() if turn % 2 else bytes(len(frame))
            await asyncio.sleep(0)

    *answers, _ = await asyncio.gather(*(look(here, given, peer=peer) for peer in range(8)), scribble())
    for answer in answers:
        assert isinstance(answer, Answer)
        assert faces(answer).width == 512
