from __future__ import annotations

import numpy as np

from edged.inference import selftest
from tests.rig.tflite import Builder

WEIGHTS, BIAS = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]], [0.25, -4.0]


def test_the_built_in_model_is_the_one_this_builds() -> None:
    build = Builder()
    x, y = build.tensor("x", (1, 3)), build.tensor("y", (1, 2))
    build.fully_connected(x, WEIGHTS, BIAS, y)
    assert build.finish([x], [y]) == selftest.MODEL


def test_the_expected_answer_is_the_right_one() -> None:
    assert np.allclose(np.array(selftest.GIVEN) @ np.array(WEIGHTS).T + BIAS, selftest.EXPECTED)
