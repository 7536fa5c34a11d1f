"""EfficientNet-Lite0 from its PyTorch checkpoint to TFLite: batch norms folded, in float32 and in int8.

    python -m models.build.imagenet --weights efficientnet-lite0-57934424.pth --into DIR

The int8 file uses the ranges in `imagenet_ranges.json`, so both files come out bit for bit the same
everywhere. `--calibrate` measures those ranges again, on crops of the demo photograph and of the two that
scikit-learn ships; the pictures that tests ask about are not among them.
Architecture: Tan and Le, "EfficientNet" (2019), in the "lite" form: ReLU6 and no squeeze-and-excite.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.build.calibrate import measure, write_ranges
from models.build.graph import Quant
from models.build.network import Conv, Dense, Depthwise, Layer, Mean, Port, Ranges, Residual, Softmax, build
from models.build.torchfile import read_state

RANGES = Path(__file__).with_name("imagenet_ranges.json")
ASTRONAUT = Path(__file__).resolve().parent.parent / "demo" / "astronaut.jpg"
SOURCE = Port("image", (1, 224, 224, 3), Quant(1 / 128, -1))
"""(pixel - 127) / 128 in float32 is pixel - 128 in int8."""
BATCH_NORM_EPSILON = 1e-3

State = dict[str, NDArray[Any]]


class Stage(NamedTuple):
    """A run of inverted residual blocks: the first may stride and widen, the others keep the shape."""

    repeats: int
    stride: int
    expand: int
    inputs: int
    outputs: int


STAGES = (
    Stage(1, 1, 1, 32, 16),
    Stage(2, 2, 6, 16, 24),
    Stage(2, 2, 6, 24, 40),
    Stage(3, 2, 6, 40, 80),
    Stage(3, 1, 6, 80, 112),
    Stage(4, 2, 6, 112, 192),
    Stage(1, 1, 6, 192, 320),
)


def layers(state: State) -> list[Layer]:
    """The network of a checkpoint, 1000 probabilities at its end."""
    result: list[Layer] = [_conv(state, "_conv_stem", "_bn0", stride=2, activation="relu6")]
    block = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            result += _block(state, block, stage, first=repeat == 0)
            block += 1
    return [
        *result,
        _conv(state, "_conv_head", "_bn1", activation="relu6"),
        Mean(),
        Dense(state["_fc.weight"], state["_fc.bias"]),
        Softmax(),
    ]


def _block(state: State, index: int, stage: Stage, *, first: bool) -> list[Layer]:
    name = f"_blocks.{index}."
    stride, inputs = (stage.stride, stage.inputs) if first else (1, stage.outputs)
    depthwise_weights, depthwise_bias = _fold(state, f"{name}_depthwise_conv", f"{name}_bn1")
    parts: list[Conv | Depthwise] = []
    if stage.expand != 1:
        parts.append(_conv(state, f"{name}_expand_conv", f"{name}_bn0", activation="relu6"))
    parts.append(Depthwise(depthwise_weights.transpose(1, 2, 3, 0), depthwise_bias, stride, "relu6"))
    parts.append(_conv(state, f"{name}_project_conv", f"{name}_bn2"))
    if stride == 1 and inputs == stage.outputs:
        return [Residual(tuple(parts))]
    return list(parts)


def _conv(state: State, conv: str, norm: str, stride: int = 1, activation: str = "none") -> Conv:
    weights, bias = _fold(state, conv, norm)
    return Conv(weights.transpose(0, 2, 3, 1), bias, stride, activation)


def _fold(state: State, conv: str, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (out, in, height, width) and bias of a convolution with the batch norm after it worked in."""
    weights, scale, shift, mean, variance = (
        state[key].astype(np.float64)
        for key in (
            f"{conv}.weight",
            f"{norm}.weight",
            f"{norm}.bias",
            f"{norm}.running_mean",
            f"{norm}.running_var",
        )
    )
    gain = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
    return weights * gain[:, None, None, None], shift - mean * gain


def convert(weights: Path, into: Path) -> list[Path]:
    """Write imagenet_f32.tflite and imagenet_int8.tflite into a directory."""
    network = layers(read_state(weights))
    ranges: Ranges = json.loads(RANGES.read_text())
    files = {"imagenet_f32.tflite": None, "imagenet_int8.tflite": ranges}
    for name, chosen in files.items():
        description = f"EfficientNet-Lite0, ImageNet-1k, {'float32' if chosen is None else 'int8'}"
        (into / name).write_bytes(
            build(network, SOURCE, "probabilities", ranges=chosen, description=description)
        )
    return [into / name for name in files]


def calibrate(weights: Path) -> None:
    """Measure the range of every activation and write them to RANGES."""
    model = build(layers(read_state(weights)), SOURCE, "probabilities")
    write_ranges(RANGES, measure(model, _photographs()))


def _photographs() -> list[NDArray[np.float32]]:
    """Input tensors of crops of three photographs, at three scales, and their mirror images."""
    from sklearn.datasets import load_sample_images  # noqa: PLC0415 - needed to calibrate only

    with Image.open(ASTRONAUT) as astronaut:
        pictures = [astronaut.convert("RGB"), *map(Image.fromarray, load_sample_images().images)]
    tensors: list[NDArray[np.float32]] = []
    for picture in pictures:
        for share, corner in itertools.product((1.0, 0.7, 0.45), (0.0, 0.5, 1.0)):
            side = min(picture.size) * share
            left, top = ((extent - side) * corner for extent in picture.size)
            box = (left, top, left + side, top + side)
            pixels = np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR, box))
            tensors += [
                ((view - np.float32(127)) / 128)[None].astype(np.float32)
                for view in (pixels, pixels[:, ::-1])
            ]
    return tensors


def main() -> None:
    """Convert, or calibrate."""
    parser = argparse.ArgumentParser(description="EfficientNet-Lite0 from PyTorch to TFLite.")
    parser.add_argument("--weights", type=Path, required=True, help="efficientnet-lite0-57934424.pth")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--into", type=Path, help="directory for both .tflite files")
    action.add_argument("--calibrate", action="store_true", help="measure the int8 ranges again")
    args = parser.parse_args()
    if args.calibrate:
        calibrate(args.weights)
    else:
        for path in convert(args.weights, args.into):
            print(path)


if __name__ == "__main__":
    main()
