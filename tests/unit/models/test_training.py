from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.build.training import (
    Array,
    ConvStep,
    DenseStep,
    MeanStep,
    Step,
    Trainee,
    cosine,
    cross_entropy,
    squared_error,
)


def steps() -> list[tuple[Step, tuple[int, ...]]]:
    rng = np.random.default_rng(0)
    return [
        (ConvStep(rng, 3, 2, 4, stride=1), (2, 5, 4, 2)),
        (ConvStep(rng, 3, 2, 4, stride=2), (2, 6, 5, 2)),
        (DenseStep(rng, 6, 5, relu=True), (3, 6)),
        (DenseStep(rng, 6, 5, relu=False), (3, 6)),
        (MeanStep(), (2, 3, 4, 5)),
    ]


def slope(step: Step, x: Array, at: Array, index: tuple[int, ...], weight: Array) -> float:
    """The change of sum(weight * out) with one number of `at`, by central difference in float64."""
    eps, kept = 1e-6, at[index]
    sums = []
    for shift in (eps, -eps):
        at[index] = kept + shift
        sums.append(float((step.forward(x) * weight).sum()))
    at[index] = kept
    return (sums[0] - sums[1]) / (2 * eps)


@pytest.mark.parametrize(("step", "shape"), steps())
def test_gradients_are_the_slopes_of_the_output(step: Step, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    step.parameters = [parameter.astype(np.float64) for parameter in step.parameters]
    x: Any = rng.normal(size=shape)
    weight: Any = rng.normal(size=step.forward(x).shape)
    grad = step.backward(weight)
    for at, gradient in [(x, grad), *zip(step.parameters, step.gradients, strict=True)]:
        indices = [tuple(int(i) for i in rng.integers(0, at.shape)) for _ in range(8)]
        slopes = [slope(step, x, at, index, weight) for index in indices]
        assert slopes == pytest.approx([gradient[index] for index in indices], rel=1e-4, abs=1e-4)


def test_a_network_learns_to_tell_two_classes_apart() -> None:
    rng = np.random.default_rng(0)
    network = Trainee([DenseStep(rng, 2, 8, relu=True), DenseStep(rng, 8, 2, relu=False)])
    x = rng.normal(size=(256, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    first = cross_entropy(network.forward(x), labels).value
    for step in range(400):
        network.learn(cross_entropy(network.forward(x), labels).grad, cosine(0.05, step / 400))
    assert cross_entropy(network.forward(x), labels).value < first / 5


def test_parameters_survive_being_taken_and_loaded() -> None:
    one, other = (Trainee([DenseStep(np.random.default_rng(seed), 3, 2, relu=False)]) for seed in (0, 1))
    other.load(one.parameters())
    x = np.ones((1, 3), np.float32)
    assert np.array_equal(one.forward(x), other.forward(x))


def test_squared_error_is_zero_where_the_answer_is_right() -> None:
    x = np.ones((2, 3), np.float32)
    assert squared_error(x, x).value == 0
    assert not squared_error(x, x).grad.any()
