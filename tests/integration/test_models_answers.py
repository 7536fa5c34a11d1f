"""The models answer what their manifests say, with the plainest preprocessing a reader could write from one."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image
from pymicro_features import MicroFrontend
from skimage import data

from edged.inference import manifest
from edged.inference.manifest import Anomaly, AudioInput, ImageInput, Keyword, Manifest, Ssd, VectorInput
from models.build import digits, golden, shuttle_radiator
from tests.rig.weights import fetched

MODELS = Path(__file__).parents[2] / "models"
DEMO = MODELS / "demo"
FACE = (180.0, 82.0, 274.0, 176.0)
"""The astronaut's, as (x0, y0, x1, y1) of the 512 x 512 picture."""

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]


@pytest.fixture(scope="session")
def models() -> Path:
    return fetched()


def load(models: Path, name: str, variant: str) -> tuple[Manifest, Interpreter]:
    loaded = manifest.load((models / name / "manifest.toml").read_text())
    file = next(v.file for v in loaded.variants if v.name == variant)
    interpreter = Interpreter(model_path=str(models / name / file), num_threads=1)
    interpreter.allocate_tensors()
    return loaded, interpreter


def invoke(interpreter: Interpreter, values: NDArray[np.floating[Any]]) -> list[NDArray[np.float64]]:
    """One invoke with real values in and out, quantised where the model is."""
    source = interpreter.get_input_details()[0]
    scale, zero_point = source["quantization"]
    stored = np.clip(np.round(values / scale) + zero_point, -128, 127) if scale else values
    interpreter.set_tensor(source["index"], stored.astype(source["dtype"]).reshape(source["shape"]))
    interpreter.invoke()
    outputs = []
    for entry in interpreter.get_output_details():
        scale, zero_point = entry["quantization"]
        tensor = interpreter.get_tensor(entry["index"]).astype(np.float64)
        outputs.append((tensor - zero_point) * scale if scale else tensor)
    return outputs


def placed(picture: Pixels, wanted: ImageInput) -> tuple[NDArray[np.float64], float, float, float]:
    """The normalised tensor, and where the picture landed in it: scale, left, top."""
    image = Image.fromarray(picture)
    if wanted.fit == "crop":
        side = min(image.size)
        left, top = ((extent - side) // 2 for extent in image.size)
        image = image.crop((left, top, left + side, top + side))
    scale = min(wanted.width / image.width, wanted.height / image.height)
    size = (round(image.width * scale), round(image.height * scale))
    canvas = np.full((wanted.height, wanted.width, 3), wanted.pad)
    left, top = (wanted.width - size[0]) // 2, (wanted.height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = image.resize(size, Image.Resampling.BILINEAR)
    return (canvas - wanted.mean) / wanted.std, scale, left, top


def faces(picture: Pixels, models: Path) -> list[tuple[float, Box]]:
    """Every anchor's score and box, surest first."""
    loaded, interpreter = load(models, "face", "f32")
    assert isinstance(loaded.input, ImageInput)
    assert isinstance(loaded.output, Ssd)
    tensor, scale, left, top = placed(picture, loaded.input)
    outputs = invoke(interpreter, tensor)
    boxes, logits = outputs[loaded.output.boxes][0], outputs[loaded.output.scores][0, :, 0]
    scores = 1 / (1 + np.exp(-logits))
    found = []
    for (x, y), box, score in zip(anchors(loaded.output.strides, 128), boxes, scores, strict=True):
        cx, cy, width, height = x + box[0], y + box[1], box[2], box[3]
        corners = ((cx - width / 2 - left) / scale, (cy - height / 2 - top) / scale)
        found.append((float(score), (*corners, corners[0] + width / scale, corners[1] + height / scale)))
    return sorted(found, reverse=True)


def anchors(strides: list[int], side: int) -> list[tuple[float, float]]:
    """Centres in pixels, row by row; layers of one stride share a grid, two anchors a cell and layer."""
    return [
        ((column + 0.5) * stride, (row + 0.5) * stride)
        for stride in dict.fromkeys(strides)
        for row in range(side // stride)
        for column in range(side // stride)
        for _ in range(2 * strides.count(stride))
    ]


def overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def picture(name: str) -> Pixels:
    pixels: Pixels = getattr(data, name)()
    return pixels


def test_the_astronauts_face_is_found_where_it_is(models: Path) -> None:
    score, box = faces(picture("astronaut"), models)[0]
    assert score >= 0.85
    assert overlap(box, FACE) >= 0.8


def test_the_demo_photograph_shows_the_same_face(models: Path) -> None:
    with Image.open(DEMO / "astronaut.jpg") as image:
        score, box = faces(np.asarray(image), models)[0]
    assert score >= 0.85
    assert overlap(box, FACE) >= 0.8


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_no_face_is_found_where_there_is_none(models: Path, name: str) -> None:
    assert faces(picture(name), models)[0][0] <= 0.6


@pytest.mark.parametrize("variant", ["f32", "int8"])
@pytest.mark.parametrize(
    ("name", "label"), [("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("rocket", "missile")]
)
def test_imagenet_names_what_a_picture_shows(models: Path, name: str, label: str, variant: str) -> None:
    loaded, interpreter = load(models, "imagenet", variant)
    assert isinstance(loaded.input, ImageInput)
    probabilities = invoke(interpreter, placed(picture(name), loaded.input)[0])[0][0]
    labels = (models / "imagenet" / "labels.txt").read_text().splitlines()
    assert labels[int(probabilities.argmax())] == label


def sheet() -> tuple[Pixels, Pixels]:
    """A thousand held-out digits (n, 28, 28), light on dark, and what they are."""
    text = (DEMO / "held_out_digits.txt").read_text().split()
    with Image.open(DEMO / "held_out_digits.png") as image:
        rows = np.asarray(image).reshape(len(text), 28, len(text[0]), 28)
    return rows.transpose(0, 2, 1, 3).reshape(-1, 28, 28), np.array(list("".join(text)), np.uint8)


@pytest.mark.parametrize("ink", ["dark", "light"])
def test_digits_nobody_showed_it_are_read_in_float_and_in_int8(ink: str) -> None:
    images, labels = sheet()
    shown = 255 - images if ink == "dark" else images
    share = {
        v: digits.accuracy((MODELS / "digits" / f"digits_{v}.tflite").read_bytes(), shown, labels)
        for v in ("f32", "int8")
    }
    assert min(share.values()) >= 0.98
    assert abs(share["f32"] - share["int8"]) <= 0.01


@pytest.mark.parametrize("digit", range(10))
def test_every_demo_digit_is_read_right(models: Path, digit: int) -> None:
    loaded, interpreter = load(models, "digits", "int8")
    assert isinstance(loaded.input, ImageInput)
    with Image.open(DEMO / f"digit_{digit}.png") as image:
        pixels = np.asarray(image.resize((28, 28), Image.Resampling.BILINEAR), np.float64)
    scores = invoke(interpreter, (pixels - loaded.input.mean) / loaded.input.std)[0][0]
    assert int(scores.argmax()) == digit


def heard(models: Path, word: str, recording: str) -> float:
    """The wake word's highest score, averaged as the manifest says."""
    loaded, interpreter = load(models, word, "int8")
    assert isinstance(loaded.input, AudioInput)
    assert isinstance(loaded.output, Keyword)
    with wave.open(str(DEMO / f"{recording}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        sound = file.readframes(file.getnframes())
    frontend = MicroFrontend()
    pieces = (sound[start : start + 320] for start in range(0, len(sound) - 319, 320))
    rows = [row for piece in pieces if (row := frontend.process_samples(piece).features)]
    step = loaded.input.frames
    features = (np.array(rows[i : i + step]) for i in range(0, len(rows) - step + 1, step))
    scores = [float(invoke(interpreter, piece)[0][0, 0]) for piece in features]
    window = np.ones(loaded.output.window) / loaded.output.window
    return float(np.convolve(scores, window, "valid").max())


@pytest.mark.parametrize("word", ["okay_nabu", "alexa"])
def test_a_wake_word_is_heard_in_its_recording_and_in_no_other(models: Path, word: str) -> None:
    assert heard(models, word, word) >= 0.9
    for other in {"okay_nabu", "alexa", "not_a_wake_word"} - {word}:
        assert heard(models, word, other) <= 0.1


@pytest.mark.parametrize("variant", ["f32", "int8"])
def test_anomalies_in_sensor_readings_score_above_normal_ones(models: Path, variant: str) -> None:
    loaded, _ = load(models, "shuttle_radiator", variant)
    assert isinstance(loaded.input, VectorInput)
    assert isinstance(loaded.output, Anomaly)
    table = np.loadtxt(DEMO / "held_out_readings.csv", delimiter=",", skiprows=1)
    rows = ((table[:, :-1] - loaded.input.mean) / loaded.input.std).astype(np.float32)
    anomalous = table[:, -1] == 1
    model = (models / "shuttle_radiator" / f"shuttle_radiator_{variant}.tflite").read_bytes()
    scores = shuttle_radiator.scores(model, rows)
    assert shuttle_radiator.auc(scores, anomalous) >= 0.995
    assert (scores[anomalous] > loaded.output.threshold).mean() == 1.0
    assert (scores[~anomalous] > loaded.output.threshold).mean() <= 0.02


@pytest.mark.parametrize("name", ["digits", "face", "imagenet", "shuttle_radiator"])
def test_every_golden_vector_is_reproduced_within_its_tolerance(models: Path, name: str) -> None:
    for variant in manifest.load((models / name / "manifest.toml").read_text()).variants:
        assert variant.golden is not None
        difference = golden.difference(models / name / variant.file, models / name / variant.golden.file)
        assert difference <= variant.golden.tolerance
