"""The work behind every peer's endpoint: OpenCV and LiteRT, nothing copied that need not be."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from pydantic import BaseModel

SIDE = 128  # pixels of BlazeFace's square input
SHRUNK = cv2.IMREAD_REDUCED_COLOR_4  # 640x480 is decoded as 160x120, which still fills the tensor
ANCHOR_GRIDS = ((16, 2), (8, 6))  # cells a side, anchors a cell


class Face(BaseModel):
    """The surest face; the box in pixels of the picture."""

    score: float
    box: list[float]


class BlazeFace:
    """Not for two threads at once."""

    def __init__(self, path: str) -> None:
        cv2.setNumThreads(1)
        self._interpreter = Interpreter(model_path=path, num_threads=1)
        self._interpreter.allocate_tensors()
        self._tensor = self._interpreter.tensor(self._interpreter.get_input_details()[0]["index"])
        boxes, scores = self._interpreter.get_output_details()
        self._boxes = self._interpreter.tensor(boxes["index"])
        self._scores = self._interpreter.tensor(scores["index"])
        self._anchors = anchors()
        self._interpreter.invoke()

    def from_jpeg(self, encoded: bytes) -> Face:
        """Raises ValueError where `encoded` is no picture."""
        bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), SHRUNK)
        if bgr is None:
            raise ValueError("not a picture")
        rgb: NDArray[Any] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)
        return self._find(rgb, enlarge=4)

    def from_raw(self, pixels: bytes, height: int, width: int) -> Face:
        """Raises ValueError where `pixels` are not height x width x 3."""
        return self._find(np.frombuffer(pixels, np.uint8).reshape(height, width, 3))

    def _find(self, rgb: NDArray[np.uint8], enlarge: int = 1) -> Face:
        scale, top, left = letterbox(rgb, self._tensor()[0])
        self._interpreter.invoke()
        logits = self._scores()[0, :, 0]
        best = int(logits.argmax())
        dx, dy, w, h = self._boxes()[0, best, :4].tolist()
        cx, cy = dx + float(self._anchors[best, 0]), dy + float(self._anchors[best, 1])
        box = [cx - w / 2 - left, cy - h / 2 - top, cx + w / 2 - left, cy + h / 2 - top]
        return Face(
            score=1 / (1 + math.exp(-float(logits[best]))), box=[edge * enlarge / scale for edge in box]
        )


def letterbox(rgb: NDArray[np.uint8], tensor: NDArray[np.float32]) -> tuple[float, int, int]:
    """Fit rgb (H, W, 3) into tensor (128, 128, 3) as -1 to 1, black around; give scale, top and left."""
    height, width = rgb.shape[:2]
    scale = SIDE / max(height, width)
    inner_height, inner_width = round(height * scale), round(width * scale)
    top, left = (SIDE - inner_height) // 2, (SIDE - inner_width) // 2
    small = cv2.resize(rgb, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    inner = tensor[top : top + inner_height, left : left + inner_width]
    tensor[:top] = tensor[top + inner_height :] = -1.0
    tensor[:, :left] = tensor[:, left + inner_width :] = -1.0
    np.multiply(small, np.float32(1 / 127.5), out=inner, casting="unsafe")
    np.subtract(inner, np.float32(1.0), out=inner)
    return scale, top, left


def anchors() -> NDArray[np.float32]:
    """Centres of the 896 anchors in pixels of the input, (896, 2), x first (MediaPipe's SSD layout)."""
    centres = [
        ((column + 0.5) * SIDE / cells, (row + 0.5) * SIDE / cells)
        for cells, each in ANCHOR_GRIDS
        for row in range(cells)
        for column in range(cells)
        for _ in range(each)
    ]
    return np.array(centres, np.float32)
