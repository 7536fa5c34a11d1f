"""Which TFLite runtime the tests of this environment use."""

from __future__ import annotations

import os
from typing import Final, Literal, cast

RUNTIME: Final = cast("Literal['litert', 'tflite']", os.environ.get("EDGED_TEST_RUNTIME", "litert"))
