"""The job everybody is given: find the face in a 640x480 picture with MediaPipe's BlazeFace (short range)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 480, 640
QUALITY = 85
FETCH_S = 1200


class Pictures(NamedTuple):
    """One photograph, as a camera driver gives it and as a camera's JPEG."""

    rgb: NDArray[np.uint8]
    """(480, 640, 3)."""
    jpeg: bytes


def pictures() -> Pictures:
    """scikit-image's astronaut at its own resolution, mirrored at the sides to fill 640x480; JPEG 4:2:0."""
    middle = data.astronaut()[:HEIGHT]  # type: ignore[no-untyped-call] # scikit-image is untyped
    side = (WIDTH - middle.shape[1]) // 2
    rgb = np.ascontiguousarray(np.pad(middle, ((0, 0), (side, side), (0, 0)), mode="reflect"))
    return Pictures(rgb, simplejpeg.encode_jpeg(rgb, quality=QUALITY, colorsubsampling="420"))


def model(name: str, cache: Path) -> Path:
    """The folder of a model with its manifest and every file, each of the SHA-256 the manifest gives."""
    fetch = [
        sys.executable,
        str(ROOT / "models" / "fetch.py"),
        "--into",
        str(cache / "models"),
        "--only",
        name,
    ]
    subprocess.run(fetch, check=True, timeout=FETCH_S, stdout=subprocess.DEVNULL)
    return cache / "models" / name
