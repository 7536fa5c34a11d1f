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
from bench.peers.blazeface import SIDE, letterbox
from edged.inference.kernels.seam import Target, choose
from edged.inference.values import Layout, Picture

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
    ways = [
        way
        for name, preprocess in {"OpenCV": letterbox, "edged's kernel": _ours(kernels)}.items()
        for way in _ways(name, preprocess, interpreter, pictures)
    ]
    samples = interleave(
        Contender("invoke", repeat(interpreter.invoke)), ways, seconds=seconds, rounds=rounds
    )
    table = {name: summarise(taken, rounds) for name, taken in samples.items()}
    return Limit(_fastest("jpeg", ways, table), _fastest("raw", ways, table), table)


def _ours(cache: Path) -> Preprocess:
    """Our kernel, compiled ahead of time into `cache`."""
    kernels = choose("native", cache).kernels
    middle = (127.5,)
    target = Target(SIDE, SIDE, "rgb", "letterbox", 0.0, middle, middle, np.dtype(np.float32), 0.0, 0)

    def preprocess(rgb: NDArray[np.uint8], tensor: NDArray[np.float32]) -> None:
        kernels.fit(Picture(Layout.RGB, rgb.shape[0], rgb.shape[1], rgb), target, tensor)

    return preprocess


def _ways(name: str, preprocess: Preprocess, interpreter: Interpreter, pictures: Pictures) -> list[Contender]:
    tensor = interpreter.tensor(interpreter.get_input_details()[0]["index"])

    def infer(rgb: NDArray[np.uint8]) -> None:
        preprocess(rgb, tensor()[0])
        interpreter.invoke()

    def whole() -> None:
        infer(_decoded(pictures.jpeg, rooms[0]))

    def shrunk() -> None:
        infer(_decoded(pictures.jpeg, rooms[1], *SHRUNK))

    rooms = [np.empty(HEIGHT * WIDTH * 3 // share, np.uint8) for share in (1, 16)]
    return [
        Contender(f"raw, {name}", repeat(lambda: infer(pictures.rgb))),
        Contender(f"jpeg, {name}", repeat(whole)),
        Contender(f"jpeg at a quarter, {name}", repeat(shrunk)),
    ]


def _decoded(encoded: bytes, room: NDArray[np.uint8], height: int = 0, width: int = 0) -> NDArray[np.uint8]:
    rgb: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        encoded, "RGB", fastdct=True, fastupsample=True, min_height=height, min_width=width, buffer=room
    )
    return rgb


def _fastest(kind: str, ways: list[Contender], table: dict[str, Result]) -> Contender:
    return min((way for way in ways if way.name.startswith(kind)), key=lambda way: table[way.name].ratio)
