"""Golden vectors: input and output tensors that a healthy copy of a model file reproduces.

    python -m models.build.golden [--models DIR]

writes the golden files of our own models anew, and with DIR (which models/fetch.py completed) those of the
third-party models, and prints their SHA-256. in0, in1 … hold the input tensors as the model takes them, out0,
out1 … the outputs as it gives them; floats are rounded, far below the tolerance, to stay small.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

from models.build import shuttle_radiator

MODELS = Path(__file__).resolve().parent.parent


class Output(NamedTuple):
    """An output tensor as the model gives it; a real value is (stored - zero point) * scale."""

    stored: NDArray[Any]
    scale: float


def invoke(model: Path, inputs: Sequence[NDArray[Any]]) -> list[Output]:
    """Every output of one invoke."""
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    for entry, tensor in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(entry["index"], tensor)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return [Output(interpreter.get_tensor(o["index"]), o["quantization"][0] or 1.0) for o in outputs]


def record(model: Path, inputs: Sequence[NDArray[Any]], golden: Path, decimals: int = 5) -> str:
    """Write what the model answers to these inputs; the SHA-256 of the file."""
    arrays: dict[str, Any] = {f"in{i}": tensor for i, tensor in enumerate(inputs)}
    arrays |= {f"out{i}": output.stored.round(decimals) for i, output in enumerate(invoke(model, inputs))}
    np.savez_compressed(golden, **arrays)
    return hashlib.sha256(golden.read_bytes()).hexdigest()


def difference(model: Path, golden: Path) -> float:
    """Largest absolute difference, in real values, between the model's answer and the golden file's."""
    with np.load(golden) as known:
        inputs = [known[f"in{i}"] for i in range(sum(name.startswith("in") for name in known))]
        return max(
            float(np.abs(output.stored - known[f"out{i}"].astype(np.float64)).max()) * output.scale
            for i, output in enumerate(invoke(model, inputs))
        )


def _astronaut(side: int) -> NDArray[np.int16]:
    """The demo photograph at side x side pixels, each doubled: coarse, so that it compresses."""
    with Image.open(MODELS / "demo" / "astronaut.jpg") as picture:
        half = np.asarray(picture.resize((side // 2, side // 2), Image.Resampling.BOX), np.int16)
    return half.repeat(2, axis=0).repeat(2, axis=1)[None]


def _digit() -> NDArray[np.int16]:
    with Image.open(MODELS / "demo" / "digit_7.png") as picture:
        return np.asarray(picture.resize((28, 28), Image.Resampling.BOX), np.int16)[None, ..., None]


def _reading() -> NDArray[np.float32]:
    """The first held-out row, normalised as the manifest says."""
    table = np.loadtxt(MODELS / "demo" / "held_out_readings.csv", delimiter=",", skiprows=1, max_rows=1)
    source = tomllib.loads((MODELS / "shuttle_radiator" / "manifest.toml").read_text())["input"]
    normalised: NDArray[np.float64] = (table[:-1] - source["mean"]) / source["std"]
    return normalised.astype(np.float32)[None]


def _own() -> Iterator[tuple[str, NDArray[Any], int]]:
    digit, reading, quant = _digit(), _reading(), shuttle_radiator.SOURCE.quant
    stored = np.clip(np.round(reading / quant.scale) + quant.zero_point, -128, 127)
    yield "digits/digits_f32", ((digit - 128) / 128).astype(np.float32), 5
    yield "digits/digits_int8", (digit - 128).astype(np.int8), 0
    yield "shuttle_radiator/shuttle_radiator_f32", reading, 5
    yield "shuttle_radiator/shuttle_radiator_int8", stored.astype(np.int8), 0


def _third_party() -> Iterator[tuple[str, NDArray[Any], int]]:
    face, scene = _astronaut(128), _astronaut(224)
    yield "face/face", ((face - 127.5) / 127.5).astype(np.float32), 2
    yield "imagenet/imagenet_f32", ((scene - 127) / 128).astype(np.float32), 5
    yield "imagenet/imagenet_int8", (scene - 128).astype(np.int8), 0


def main() -> None:
    """Record golden vectors and print their SHA-256."""
    parser = argparse.ArgumentParser(description="Record golden vectors.")
    parser.add_argument(
        "--models", type=Path, help="directory that models/fetch.py completed; else our own only"
    )
    fetched: Path | None = parser.parse_args().models
    sources = [(MODELS, _own()), *([(fetched, _third_party())] if fetched else [])]
    for directory, entries in sources:
        for name, tensor, decimals in entries:
            golden = MODELS / f"{name}.golden.npz"
            print(record(directory / f"{name}.tflite", [tensor], golden, decimals), golden.name)


if __name__ == "__main__":
    main()
