"""The anomaly autoencoder: rebuilt bit for bit from committed weights, or trained again on real sensor data.

    python -m models.build.shuttle_radiator             write models/shuttle_radiator/*.tflite from weights and ranges
    python -m models.build.shuttle_radiator --retrain   learn new weights from Statlog (Shuttle), seconds, then write

Nine sensor readings are squeezed through four numbers and restored; trained on normal operation only, it restores
normal readings well and others badly. Split: 60 % of the normal rows, drawn at random, to learn from; the other 40 %
and every anomaly to be judged on. `--retrain` prints what the manifest states: mean and standard deviation of the
training rows, and the 99th percentile of their scores, of which the larger (int8's) is the threshold.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.build.calibrate import measure, read_ranges, write_ranges
from models.build.datasets import Readings, shuttle
from models.build.network import Port, Ranges, affine, build
from models.build.training import Array, DenseStep, Trainee, cosine, squared_error

HERE = Path(__file__).parent
WEIGHTS = HERE / "shuttle_radiator_weights.npz"
RANGES = HERE / "shuttle_radiator_ranges.json"
MODEL = HERE.parent / "shuttle_radiator"
SIZES = (9, 32, 16, 4, 16, 32, 9)
CLIP = 4.0
"""Standard deviations beyond which a training value, or an int8 input, is cut off."""
SOURCE = Port("readings", (1, 9), affine(-CLIP, CLIP))
STEPS = 8000
BATCH = 256
RATE = 3e-3


class Split(NamedTuple):
    """Rows to learn from, rows to be judged on, and what normalises both."""

    train: NDArray[np.float64]
    test: Readings
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def trainee(seed: int = 1) -> Trainee:
    """The untrained network: ReLU everywhere but at the waist and the end."""
    rng = np.random.default_rng(seed)
    return Trainee(
        [
            DenseStep(rng, inputs, outputs, relu=outputs not in (min(SIZES), SIZES[-1]))
            for inputs, outputs in pairwise(SIZES)
        ]
    )


def write(network: Trainee, ranges: Ranges | None = None) -> bytes:
    """The .tflite file: float32, or int8 with ranges."""
    description = "shuttle radiator sensors, {}".format("float32" if ranges is None else "int8")
    return build(network.layers(), SOURCE, "reconstruction", ranges=ranges, description=description)


def rebuild() -> dict[str, bytes]:
    """Both .tflite files from the committed weights and ranges."""
    network = trainee()
    with np.load(WEIGHTS) as weights:
        network.load(dict(weights))
    ranges = read_ranges(RANGES)
    return {
        "shuttle_radiator_f32.tflite": write(network),
        "shuttle_radiator_int8.tflite": write(network, ranges),
    }


def split(readings: Readings) -> Split:
    """The fixed split: a permutation of the normal rows by a seeded generator, cut at 60 %."""
    normal = np.random.default_rng(0).permutation(np.flatnonzero(~readings.anomalous))
    cut = len(normal) * 6 // 10
    held_out = np.concatenate([normal[cut:], np.flatnonzero(readings.anomalous)])
    train = readings.values[normal[:cut]]
    test = Readings(readings.values[held_out], readings.anomalous[held_out])
    return Split(train, test, train.mean(axis=0).round(4), train.std(axis=0).round(4))


def retrain() -> None:
    """Learn, print what the manifest states, keep weights and ranges."""
    data = split(shuttle())
    train = ((data.train - data.mean) / data.std).astype(np.float32)
    test = ((data.test.values - data.mean) / data.std).astype(np.float32)
    network = _learn(np.clip(train, -CLIP, CLIP))
    np.savez_compressed(WEIGHTS, **network.parameters())  # type: ignore[arg-type] # names p0 … are no keywords of its
    write_ranges(RANGES, measure(write(network), [row[None] for row in np.clip(train[:5000], -CLIP, CLIP)]))
    print("mean", data.mean.tolist(), "std", data.std.tolist())
    print(f"distance to the mean alone: AUC {auc((test**2).mean(axis=1), data.test.anomalous):.4f}")
    for name, model in rebuild().items():
        threshold = np.quantile(scores(model, train), 0.99)
        found = scores(model, test)
        caught = (found > threshold)[data.test.anomalous].mean()
        alarms = (found > threshold)[~data.test.anomalous].mean()
        print(f"{name}: AUC {auc(found, data.test.anomalous):.4f}, threshold {threshold:.5f}: ", end="")
        print(f"{caught:.4f} of the anomalies caught, {alarms:.4f} of normal rows alarmed")


def _learn(train: Array) -> Trainee:
    network, rng = trainee(), np.random.default_rng(2)
    for step in range(STEPS):
        batch = train[rng.integers(0, len(train), BATCH)]
        network.learn(squared_error(network.forward(batch), batch).grad, cosine(RATE, step / STEPS))
    return network


def scores(model: bytes, rows: Array) -> NDArray[np.float64]:
    """Mean squared difference between each normalised row (n, 9) and what the model restores of it."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    stored = np.clip(np.round(rows / scale) + zero_point, -128, 127).astype(np.int8) if scale else rows
    restored = np.empty_like(rows)
    for index, row in enumerate(stored):
        interpreter.set_tensor(source["index"], row[None])
        interpreter.invoke()
        restored[index] = interpreter.get_tensor(out["index"])[0]
    if scale:
        scale, zero_point = out["quantization"]
        restored = (restored - zero_point) * np.float32(scale)
    errors: NDArray[np.float64] = ((restored.astype(np.float64) - rows) ** 2).mean(axis=1)
    return errors


def auc(found: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often an anomaly scores above a normal row, ties counting half."""
    ordered = np.sort(found[~anomalous])
    below, upto = (np.searchsorted(ordered, found[anomalous], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(ordered))


def main() -> None:
    """Rebuild the committed files, after training anew where asked."""
    parser = argparse.ArgumentParser(description="Rebuild or retrain the anomaly autoencoder.")
    parser.add_argument(
        "--retrain", action="store_true", help="learn new weights from Statlog (Shuttle) first"
    )
    if parser.parse_args().retrain:
        retrain()
    for name, model in rebuild().items():
        (MODEL / name).write_bytes(model)
        print(name, len(model), "bytes")


if __name__ == "__main__":
    main()
