"""The handwritten-digit model: rebuilt bit for bit from committed weights, or trained again.

    python -m models.build.digits             write models/digits/*.tflite from committed weights and ranges
    python -m models.build.digits --retrain   learn new weights from MNIST (six minutes of one core), then write

Learns from MNIST's 60,000 training digits, seen dark on light and light on dark, shifted, turned, stretched and in
weaker contrast; judged on the 10,000 test digits, which other people wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.build.calibrate import measure, read_ranges, write_ranges
from models.build.datasets import Digits, mnist
from models.build.graph import Quant
from models.build.network import Port, Ranges, Softmax, build
from models.build.training import Array, ConvStep, DenseStep, MeanStep, Trainee, cosine, cross_entropy

HERE = Path(__file__).parent
WEIGHTS = HERE / "digits_weights.npz"
RANGES = HERE / "digits_ranges.json"
MODEL = HERE.parent / "digits"
SOURCE = Port("image", (1, 28, 28, 1), Quant(1 / 128, 0))
"""(pixel - 128) / 128 in float32 is pixel - 128 in int8."""
EPOCHS = 10
BATCH = 128
RATE = 3e-3


def trainee(seed: int = 0) -> Trainee:
    """The untrained network: four convolutions, a mean, ten logits; 17,670 parameters."""
    rng = np.random.default_rng(seed)
    return Trainee(
        [
            ConvStep(rng, 3, 1, 12, stride=2),
            ConvStep(rng, 3, 12, 20, stride=1),
            ConvStep(rng, 3, 20, 32, stride=2),
            ConvStep(rng, 3, 32, 32, stride=1),
            MeanStep(),
            DenseStep(rng, 32, 10, relu=False),
        ]
    )


def write(network: Trainee, ranges: Ranges | None = None) -> bytes:
    """The .tflite file: float32, or int8 with ranges."""
    description = "handwritten digits, {}".format("float32" if ranges is None else "int8")
    return build(
        [*network.layers(), Softmax()], SOURCE, "probabilities", ranges=ranges, description=description
    )


def rebuild() -> dict[str, bytes]:
    """Both .tflite files from the committed weights and ranges."""
    network = trainee()
    with np.load(WEIGHTS) as weights:
        network.load(dict(weights))
    ranges = read_ranges(RANGES)
    return {"digits_f32.tflite": write(network), "digits_int8.tflite": write(network, ranges)}


def retrain() -> None:
    """Learn from MNIST, print the accuracy of what was learnt, keep weights and ranges."""
    train, test = mnist()
    network = _learn(train)
    np.savez_compressed(WEIGHTS, **network.parameters())  # type: ignore[arg-type] # names p0 … are no keywords of its
    write_ranges(RANGES, measure(write(network), list(_views(train.images[:1000]))))
    for name, model in rebuild().items():
        scores = {"dark on light": accuracy(model, 255 - test.images, test.labels)}
        scores["light on dark"] = accuracy(model, test.images, test.labels)
        print(name, *(f"{how} {score:.4f}" for how, score in scores.items()))


def _learn(train: Digits) -> Trainee:
    network, rng = trainee(), np.random.default_rng(1)
    steps = EPOCHS * (len(train.labels) // BATCH)
    for step in range(steps):
        chosen = rng.integers(0, len(train.labels), BATCH)
        loss = cross_entropy(network.forward(augment(train.images[chosen], rng)), train.labels[chosen])
        network.learn(loss.grad, cosine(RATE, step / steps))
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {loss.value:.4f}", flush=True)
    return network


def augment(images: NDArray[np.uint8], rng: np.random.Generator) -> Array:
    """Input tensors (n, 28, 28, 1) of digits moved, turned, sheared and stretched, in either polarity."""
    ink = _warp(images.astype(np.float32) / np.float32(255), rng)
    count = len(images)
    paper = rng.uniform(0.75, 1.0, (count, 1, 1))
    pen = rng.uniform(0.0, 0.3, (count, 1, 1))
    light = paper + (pen - paper) * ink + rng.normal(0, 0.02, ink.shape)
    inverted = rng.random((count, 1, 1)) < 0.5
    pixels = np.clip(np.where(inverted, 1 - light, light), 0, 1) * 255
    return ((pixels - 128) / 128).astype(np.float32)[..., None]


def _warp(ink: Array, rng: np.random.Generator) -> Array:
    """Each picture (n, 28, 28) through its own small affine map, sampled bilinearly, empty beyond its edges."""
    count, side = len(ink), ink.shape[1]
    angle, shear = rng.uniform(-0.2, 0.2, count), rng.uniform(-0.15, 0.15, count)
    zoom_x, zoom_y = rng.uniform(0.85, 1.2, (2, count))
    move_x, move_y = rng.uniform(-2.5, 2.5, (2, count))
    centre = (side - 1) / 2
    grid_y, grid_x = np.mgrid[:side, :side] - centre
    cos, sin = (f(angle)[:, None, None] for f in (np.cos, np.sin))
    x = (cos * grid_x + (sin + shear[:, None, None]) * grid_y) * zoom_x[:, None, None]
    y = (cos * grid_y - sin * grid_x) * zoom_y[:, None, None]
    padded = np.pad(ink, [(0, 0), (1, 2), (1, 2)])
    x = np.clip(x + centre + move_x[:, None, None], -1, side) + 1
    y = np.clip(y + centre + move_y[:, None, None], -1, side) + 1
    left, top = x.astype(np.intp), y.astype(np.intp)
    right_share, bottom_share = x - left, y - top
    n = np.arange(count)[:, None, None]
    upper = padded[n, top, left] * (1 - right_share) + padded[n, top, left + 1] * right_share
    lower = padded[n, top + 1, left] * (1 - right_share) + padded[n, top + 1, left + 1] * right_share
    warped: Array = (upper * (1 - bottom_share) + lower * bottom_share).astype(np.float32)
    return warped


def _views(images: NDArray[np.uint8]) -> list[Array]:
    """Input tensors (1, 28, 28, 1) of pictures as they are and inverted."""
    return [
        ((view.astype(np.float32) - 128) / 128)[None, ..., None]
        for pair in zip(images, 255 - images, strict=True)
        for view in pair
    ]


def accuracy(model: bytes, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Share of pictures (n, 28, 28) whose likeliest digit is the right one."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    right = 0
    for image, label in zip(images, labels, strict=True):
        signed = image.astype(np.int16) - 128
        tensor = signed.astype(np.int8) if source["dtype"] is np.int8 else signed.astype(np.float32) / 128
        interpreter.set_tensor(source["index"], tensor[None, ..., None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(out)[0].argmax() == label)
    return right / len(labels)


def main() -> None:
    """Rebuild the committed files, after training anew where asked."""
    parser = argparse.ArgumentParser(description="Rebuild or retrain the handwritten-digit model.")
    parser.add_argument("--retrain", action="store_true", help="learn new weights from MNIST first")
    if parser.parse_args().retrain:
        retrain()
    for name, model in rebuild().items():
        (MODEL / name).write_bytes(model)
        print(name, len(model), "bytes")


if __name__ == "__main__":
    main()
