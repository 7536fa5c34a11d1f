"""The least the job can cost: decode, preprocess and invoke in this process, and nothing else.

No queue, no answer, no checks, and buffers reused. The fastest of every way we know (edged's own kernel or
OpenCV; the whole JPEG or, as the daemon does, only as much of it as the model needs) is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from bench.harness import Contender, Result, interleave, repeat, summarise
from bench.job import HEIGHT, WIDTH, Pictures
from bench.ours import preprocessor
from bench.peers.blazeface import letterbox

SHRUNK = (HEIGHT // 4, WIDTH // 4)  # still larger than the 96x128 of the tensor it fills

Preprocess = Callable[[NDArray[np.uint8], NDArray[np.float32]], object]
"""From (H, W, 3) to (128, 128, 3): letterboxed, -1 to 1."""


class Limit(NamedTuple):
    """The fastest in-process loop of each kind, and what every one of them took."""

    jpeg: Contender
    raw: Contender
    table: dict[str, Result]
    """By kind and way; the ratio is to the invoke alone."""


def find(model: Path, pictures: Pictures, kernels: Path, *, seconds: float, rounds: int) -> Limit:
    """Race every way to do the job; give the fastest of each kind."""
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    tensor = interpreter.tensor(interpreter.get_input_details()[0]["index"])
    ways: list[Contender] = []
    for name, preprocess in {"OpenCV": letterbox, "edged's kernel": preprocessor(kernels)}.items():

        def infer(rgb: NDArray[np.uint8], preprocess: Preprocess = preprocess) -> None:
            preprocess(rgb, tensor()[0])
            interpreter.invoke()

        ways += [
            Contender(f"raw, {name}", repeat(lambda infer=infer: infer(pictures.rgb))),
            Contender(f"jpeg, {name}", repeat(_from_jpeg(infer, pictures.jpeg, None))),
            Contender(f"jpeg at a quarter, {name}", repeat(_from_jpeg(infer, pictures.jpeg, SHRUNK))),
        ]
    samples = interleave(Contender("invoke", repeat(interpreter.invoke)), ways, seconds=seconds, rounds=rounds)
    table = {name: summarise(taken, rounds) for name, taken in samples.items()}
    return Limit(_fastest("jpeg", ways, table), _fastest("raw", ways, table), table)


def _from_jpeg(
    infer: Callable[[NDArray[np.uint8]], None], encoded: bytes, size: tuple[int, int] | None
) -> Callable[[], None]:
    height, width = size or (HEIGHT, WIDTH)
    room = np.empty(height * width * 3, np.uint8)
    bounds = {"min_height": height, "min_width": width} if size else {}

    def run() -> None:
        infer(simplejpeg.decode_jpeg(encoded, "RGB", fastdct=True, fastupsample=True, buffer=room, **bounds))

    return run


def _fastest(kind: str, ways: list[Contender], table: dict[str, Result]) -> Contender:
    return min((way for way in ways if way.name.startswith(kind)), key=lambda way: table[way.name].ratio)
