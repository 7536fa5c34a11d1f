"""Golden vectors: input and output tensors that a healthy copy of a model file reproduces.

    python -m models.build.golden --models DIR    (a directory that models/fetch.py completed)

writes the golden files of the third-party models anew and prints their SHA-256. in0, in1 … hold the input
tensors as the model takes them; out0, out1 … the outputs, dequantised to float32 and, to stay small, rounded
far below the tolerance.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

MODELS = Path(__file__).resolve().parent.parent


def invoke(model: Path, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Every output of one invoke, dequantised."""
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    for entry, tensor in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(entry["index"], tensor)
    interpreter.invoke()
    return [
        _dequantise(interpreter.get_tensor(e["index"]), e["quantization"])
        for e in interpreter.get_output_details()
    ]


def record(model: Path, inputs: Sequence[NDArray[Any]], golden: Path, decimals: int) -> str:
    """Write what the model answers to these inputs; the SHA-256 of the file."""
    outputs = invoke(model, inputs)
    arrays: dict[str, Any] = {f"in{i}": tensor for i, tensor in enumerate(inputs)}
    arrays |= {f"out{i}": tensor.round(decimals) for i, tensor in enumerate(outputs)}
    np.savez_compressed(golden, **arrays)
    return hashlib.sha256(golden.read_bytes()).hexdigest()


def difference(model: Path, golden: Path) -> float:
    """Largest absolute difference between what the model answers and what the golden file says."""
    with np.load(golden) as known:
        inputs = [known[f"in{i}"] for i in range(sum(name.startswith("in") for name in known))]
        outputs = invoke(model, inputs)
        return max(float(np.abs(out - known[f"out{i}"]).max()) for i, out in enumerate(outputs))


def _dequantise(tensor: NDArray[Any], quantization: tuple[float, int]) -> NDArray[np.float32]:
    scale, zero_point = quantization
    if scale == 0.0:
        return tensor.astype(np.float32)
    return ((tensor.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _astronaut(side: int) -> NDArray[np.int16]:
    """The demo photograph at side x side pixels, each doubled: coarse, so that it compresses."""
    with Image.open(MODELS / "demo" / "astronaut.jpg") as picture:
        half = np.asarray(picture.resize((side // 2, side // 2), Image.Resampling.BOX), np.int16)
    return half.repeat(2, axis=0).repeat(2, axis=1)[None]


def main() -> None:
    """Record the golden vectors of the third-party models."""
    parser = argparse.ArgumentParser(description="Record the golden vectors of the third-party models.")
    parser.add_argument("--models", type=Path, required=True, help="directory that models/fetch.py completed")
    models: Path = parser.parse_args().models
    face, scene = _astronaut(128), _astronaut(224)
    for file, tensor, decimals in (
        ("face/face", ((face - 127.5) / 127.5).astype(np.float32), 2),
        ("imagenet/imagenet_f32", ((scene - 127) / 128).astype(np.float32), 5),
        ("imagenet/imagenet_int8", (scene - 128).astype(np.int8), 5),
    ):
        golden = MODELS / f"{file}.golden.npz"
        print(record(models / f"{file}.tflite", [tensor], golden, decimals), golden.name)


if __name__ == "__main__":
    main()
