"""What the device must answer to real input, through its socket."""

from __future__ import annotations

import csv
import io
import wave
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from edged.data import folder
from tests.rig.daemon import Daemon

DEMO = folder("models") / "demo"


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def photograph(name: str) -> bytes:
    """One of scikit-image's pictures, as PNG."""
    return png(Image.fromarray(getattr(data, name)()))


def iou(box: dict[str, float], other: tuple[float, float, float, float]) -> float:
    width = min(box["x1"], other[2]) - max(box["x0"], other[0])
    height = min(box["y1"], other[3]) - max(box["y0"], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    area = (box["x1"] - box["x0"]) * (box["y1"] - box["y0"])
    return shared / (area + (other[2] - other[0]) * (other[3] - other[1]) - shared)


def test_the_face_on_astronaut_is_found_where_it_is(device: Daemon) -> None:
    found = device.call("infer_face", image={"data": photograph("astronaut")})
    best = found["objects"][0]
    assert iou(best["box"], (180, 82, 274, 176)) >= 0.8
    assert best["score"] >= 0.85
    assert (found["width"], found["height"]) == (512, 512)


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_no_face_is_seen_where_there_is_none(device: Daemon, name: str) -> None:
    found = device.call("infer_face", image={"data": photograph(name)}, threshold=0.6)
    assert found["objects"] == []


@pytest.mark.parametrize("variant", ["f32", "int8"])
@pytest.mark.parametrize(
    ("name", "label"), [("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("rocket", "missile")]
)
def test_imagenet_names_what_a_picture_shows(device: Daemon, name: str, label: str, variant: str) -> None:
    found = device.call("infer_imagenet", image={"data": photograph(name)}, variant=variant)
    assert found["labels"][0]["label"] == label
    assert found["ran"]["variant"] == variant


def test_okay_nabu_is_heard_and_alexa_is_not_mistaken_for_it(device: Daemon) -> None:
    said = device.call("infer_okay_nabu", audio={"data": (DEMO / "okay_nabu.wav").read_bytes()})
    other = device.call("infer_okay_nabu", audio={"data": (DEMO / "alexa.wav").read_bytes()})
    assert said["scores"][0]["score"] >= 0.9
    assert said["heard"]
    assert other["scores"][0]["score"] <= 0.1
    assert other["heard"] == []


def test_a_recording_in_pieces_is_one_stream_for_each_peer(device: Daemon) -> None:
    with wave.open(str(DEMO / "okay_nabu.wav")) as file:
        raw = file.readframes(file.getnframes())
    pieces = [raw[start : start + 16_000] for start in range(0, len(raw), 16_000)]
    with device.client() as one, device.client() as other:
        best = []
        for client in (one, other):
            scores = [
                client.call_tool(
                    "infer_okay_nabu", {"audio": {"data": piece, "rate_hz": 16_000}, "stream": "mic"}
                ).structured["scores"][0]["score"]
                for piece in pieces
            ]
            best.append(max(scores))
    assert min(best) >= 0.9
    assert abs(best[0] - best[1]) < 1e-6


def test_the_annotated_picture_comes_back_as_a_png_of_the_same_size(device: Daemon) -> None:
    with device.client() as client:
        answer = client.call_tool(
            "infer_face", {"image": {"data": (DEMO / "astronaut.jpg").read_bytes()}, "annotate": True}
        )
    ((raw, mime),) = answer.images
    assert mime == "image/png"
    with Image.open(io.BytesIO(raw)) as drawn, Image.open(DEMO / "astronaut.jpg") as given:
        assert drawn.size == given.size


def test_a_picture_by_path_is_refused_outside_the_roots(device: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(photograph("coffee"))
    with device.client() as client:
        answer = client.call_tool("infer_face", {"image": {"path": str(file)}})
    assert answer.is_error
    assert answer.structured["error"] == "NotAllowed"


@pytest.mark.parametrize("variant", ["f32", "int8"])
def test_held_out_digits_are_read(device: Daemon, variant: str) -> None:
    labels = "".join((DEMO / "held_out_digits.txt").read_text().split())
    with Image.open(DEMO / "held_out_digits.png") as sheet:
        corners = [(28 * (n % 40), 28 * (n // 40)) for n in range(len(labels))]
        digits = [png(sheet.crop((x, y, x + 28, y + 28))) for x, y in corners]
    with device.client() as client:
        read = [
            client.call_tool("infer_digits", {"image": {"data": digit}, "variant": variant}).structured[
                "labels"
            ]
            for digit in digits
        ]
    right = sum(found[0]["label"] == label for found, label in zip(read, labels, strict=True))
    assert right / len(labels) >= 0.96


@pytest.mark.parametrize("variant", ["f32", "int8"])
def test_anomalous_readings_are_told_from_normal_ones(device: Daemon, variant: str) -> None:
    with (DEMO / "held_out_readings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    normal: list[float] = []
    anomalous: list[float] = []
    with device.client() as client:
        for row in rows:
            is_anomaly = row.pop("anomalous") == "1"
            values = {name: float(value) for name, value in row.items()}
            found = client.call_tool(
                "infer_shuttle_radiator", {"values": values, "variant": variant}
            ).structured
            (anomalous if is_anomaly else normal).append(found["score"])
    above = sum(a > n for a in anomalous for n in normal)  # the area under the ROC curve, by its definition
    assert above / (len(anomalous) * len(normal)) >= 0.99
