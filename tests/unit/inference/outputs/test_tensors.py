from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import BadArgument, BadOutput
from edged.inference.kernels.plain import PlainKernels
from edged.inference.outputs.tensors import flat, numbers, real, stored
from edged.inference.runtime import TensorSpec

KERNELS = PlainKernels()


def spec(dtype: str, scale: float = 0.0, zero_point: int = 0) -> TensorSpec:
    return TensorSpec("y", (1, 4), np.dtype(dtype), scale, zero_point)


@pytest.mark.parametrize(
    ("dtype", "zero_point"), [("int8", -128), ("int8", 3), ("uint8", 0), ("uint8", 128), ("int16", 0)]
)
@given(x=st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4))
def test_a_value_comes_back_within_half_a_step_or_at_the_end_of_the_range(
    dtype: str, zero_point: int, x: list[float]
) -> None:
    how = spec(dtype, 0.05, zero_point)
    values = np.array(x, np.float32)
    kept = stored(values, how)
    limits = np.iinfo(how.dtype)
    low, high = (limits.min - zero_point) * 0.05, (limits.max - zero_point) * 0.05
    np.testing.assert_allclose(real(kept, how, "m", KERNELS), np.clip(values, low, high), atol=0.0251)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_nan_and_infinity_in_an_output_are_an_error_that_names_model_and_tensor(
    dtype: str, poison: float
) -> None:
    raw = np.array([0, 1, poison, 3], dtype)
    with pytest.raises(BadOutput, match="model face: output tensor 'y'"):
        real(raw, spec(dtype), "face", KERNELS)


def test_integers_that_are_not_quantised_are_themselves() -> None:
    values = np.array([0, 1, -7, 300], np.int32)
    np.testing.assert_array_equal(real(values, spec("int32"), "m", KERNELS), values)
    np.testing.assert_array_equal(stored(np.array([0, 1, -7, 300], np.float32), spec("int32")), values)
    np.testing.assert_array_equal(stored(np.array([0, 1], np.float32), spec("bool")), [False, True])


def test_numbers_are_taken_by_name_or_in_order() -> None:
    np.testing.assert_array_equal(numbers({"b": 2, "a": 1}, ["a", "b"]), [1, 2])
    np.testing.assert_array_equal(numbers([1, 2], ["a", "b"]), [1, 2])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"a": 1.0}, r"\$\.values\.b: required"),
        ({"a": 1.0, "b": 2.0, "x": 3.0}, r"\$\.values\.x: unknown; known here: a, b"),
        ([1.0], r"\$\.values: expected 2 numbers, got 1"),
        ([1.0, 2.0, 3.0], r"expected 2 numbers, got 3"),
        ([1.0, float("nan")], r"\$\.values\[1\]: NaN"),
        ([float("inf"), 1.0], r"\$\.values\[0\]: NaN and infinity"),
        ([10**400, 1.0], r"\$\.values: expected numbers"),
        (["x", 1.0], r"\$\.values: expected numbers"),
        ([[1.0], [2.0]], r"flat list"),
    ],
)
def test_numbers_that_are_not_all_there_and_finite_are_refused_by_path(values: object, says: str) -> None:
    with pytest.raises(BadArgument, match=says):
        numbers(values, ["a", "b"])  # type: ignore[arg-type] # the wrong types are the point


def test_a_tensor_of_the_wrong_size_is_refused_by_path() -> None:
    with pytest.raises(BadArgument, match=r"\$\.tensors\[1\]: expected 3 numbers, got 2"):
        flat([1, 2], 3, "$.tensors[1]")
