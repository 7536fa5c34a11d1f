"""edged's own preprocessing kernel, as the limit calls it: a plan made once, then only arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def preprocessor(cache: Path) -> Callable[[NDArray[np.uint8], NDArray[np.float32]], Any]:
    """Letterbox RGB into a float32 tensor with the kernels compiled in `cache`."""
    raise NotImplementedError(cache)
