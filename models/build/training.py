"""Train a small feed-forward network in numpy: forward, backward, Adam; weights in TFLite's layouts.

Tensors are float32 and channel-last, as in `network`, whose layers `Trainee.layers` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from models.build.network import Conv, Dense, Layer, Mean

Array = NDArray[np.float32]


class Step(Protocol):
    """One trainable stage: `forward` remembers what `backward` needs to turn d(out) into d(in)."""

    parameters: list[Array]
    gradients: list[Array]

    def forward(self, x: Array) -> Array:
        """The stage's output."""

    def backward(self, grad: Array) -> Array:
        """The loss's gradient by the stage's input; fills `gradients`."""

    def layer(self) -> Layer:
        """The stage as a layer to write."""


class ConvStep:
    """SAME convolution of (batch, height, width, channels), ReLU where asked."""

    def __init__(self, rng: np.random.Generator, size: int, inputs: int, outputs: int, stride: int) -> None:
        spread = math.sqrt(2 / (size * size * inputs))  # He et al., 2015
        weights = rng.normal(0.0, spread, (outputs, size, size, inputs)).astype(np.float32)
        self.parameters = [weights, np.zeros(outputs, np.float32)]
        self.gradients: list[Array] = []
        self._stride = stride

    def forward(self, x: Array) -> Array:
        """(batch, height, width, in) to (batch, height / stride, width / stride, out)."""
        weights, bias = self.parameters
        outputs, size = weights.shape[:2]
        self._shape = x.shape
        self._padding = [_same_padding(side, size, self._stride) for side in x.shape[1:3]]
        padded = np.pad(x, [(0, 0), *self._padding, (0, 0)])
        windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, :: self._stride, :: self._stride]
        self._out_shape = (*windows.shape[:3], outputs)
        self._columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, weights[0].size)
        out = self._columns @ weights.reshape(outputs, -1).T + bias
        self._alive = out > 0
        return np.where(self._alive, out, np.float32(0)).reshape(self._out_shape)

    def backward(self, grad: Array) -> Array:
        """Each window's share of the gradient, added up where the windows overlap."""
        weights = self.parameters[0]
        outputs, size = weights.shape[:2]
        grad = grad.reshape(-1, outputs) * self._alive
        self.gradients = [(grad.T @ self._columns).reshape(weights.shape), grad.sum(axis=0)]
        columns = (grad @ weights.reshape(outputs, -1)).reshape(*self._out_shape[:3], size, size, -1)
        (top, bottom), (left, right) = self._padding
        batch, height, width, channels = self._shape
        padded = np.zeros((batch, top + height + bottom, left + width + right, channels), np.float32)
        rows, columns_out = (self._stride * (side - 1) + 1 for side in self._out_shape[1:3])
        for y in range(size):
            for x in range(size):
                padded[:, y : y + rows : self._stride, x : x + columns_out : self._stride] += columns[
                    :, :, :, y, x
                ]
        return padded[:, top : top + height, left : left + width]

    def layer(self) -> Layer:
        """A TFLite CONV_2D with its ReLU."""
        weights, bias = self.parameters
        return Conv(weights, bias, self._stride, "relu")


class DenseStep:
    """Fully connected, of (batch, features), ReLU where asked."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, *, relu: bool) -> None:
        weights = rng.normal(0.0, math.sqrt(2 / inputs), (outputs, inputs)).astype(np.float32)
        self.parameters = [weights, np.zeros(outputs, np.float32)]
        self.gradients: list[Array] = []
        self._relu = relu

    def forward(self, x: Array) -> Array:
        """(batch, in) to (batch, out)."""
        self._x = x
        out = x @ self.parameters[0].T + self.parameters[1]
        self._alive = out > 0
        return np.where(self._alive, out, np.float32(0)) if self._relu else out

    def backward(self, grad: Array) -> Array:
        """The gradient by (batch, in)."""
        grad = grad * self._alive if self._relu else grad
        self.gradients = [grad.T @ self._x, grad.sum(axis=0)]
        return grad @ self.parameters[0]

    def layer(self) -> Layer:
        """A TFLite FULLY_CONNECTED."""
        weights, bias = self.parameters
        return Dense(weights, bias, "relu" if self._relu else "none")


class MeanStep:
    """(batch, height, width, channels) to (batch, channels)."""

    def __init__(self) -> None:
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        """(batch, height, width, channels) to (batch, channels)."""
        self._shape = x.shape
        out: Array = x.mean(axis=(1, 2))
        return out

    def backward(self, grad: Array) -> Array:
        """Every place carries its share."""
        area = np.float32(self._shape[1] * self._shape[2])
        return np.broadcast_to((grad / area)[:, None, None], self._shape).astype(np.float32)

    def layer(self) -> Layer:
        """A TFLite MEAN."""
        return Mean()


class Trainee:
    """A stack of steps under Adam (Kingma and Ba, 2015)."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._moments = [(np.zeros_like(p), np.zeros_like(p)) for step in steps for p in step.parameters]
        self._count = 0

    def forward(self, x: Array) -> Array:
        """The output of the last step."""
        for step in self._steps:
            x = step.forward(x)
        return x

    def learn(self, grad: Array, rate: float) -> None:
        """One Adam step from the loss's gradient by the last forward's output."""
        for step in reversed(self._steps):
            grad = step.backward(grad)
        self._count += 1
        pairs = [pair for step in self._steps for pair in zip(step.parameters, step.gradients, strict=True)]
        for (parameter, gradient), (mean, square) in zip(pairs, self._moments, strict=True):
            mean[...] = 0.9 * mean + 0.1 * gradient
            square[...] = 0.999 * square + 0.001 * gradient * gradient
            move = mean / (1 - 0.9**self._count) / (np.sqrt(square / (1 - 0.999**self._count)) + 1e-8)
            parameter[...] = parameter - rate * move

    def layers(self) -> list[Layer]:
        """What was learnt, ready for `network.build`."""
        return [step.layer() for step in self._steps]

    def parameters(self) -> dict[str, Array]:
        """Every weight and bias, named p0, p1 … in order."""
        return {f"p{i}": p for i, p in enumerate(p for step in self._steps for p in step.parameters)}

    def load(self, parameters: dict[str, Array]) -> None:
        """Take over the parameters that `parameters` gave."""
        for name, own in self.parameters().items():
            own[...] = parameters[name]


class Loss(NamedTuple):
    """A batch's mean loss, and its gradient by the network's output."""

    value: float
    grad: Array


def cross_entropy(logits: Array, labels: NDArray[np.integer]) -> Loss:
    """Softmax cross-entropy of (batch, classes) against class numbers (batch,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = np.arange(labels.size)
    value = -np.log(np.maximum(probabilities[rows, labels], 1e-12)).mean()
    probabilities[rows, labels] -= 1
    return Loss(float(value), probabilities / np.float32(labels.size))


def squared_error(out: Array, wanted: Array) -> Loss:
    """Mean squared error over every element."""
    difference = out - wanted
    return Loss(float((difference**2).mean()), difference * np.float32(2 / out.size))


def cosine(rate: float, done: float) -> float:
    """The learning rate after a share `done` (0 to 1) of the training."""
    return rate * 0.5 * (1 + math.cos(math.pi * done))


def _same_padding(side: int, size: int, stride: int) -> tuple[int, int]:
    """TFLite's SAME: before and after, the odd one after."""
    total = max((math.ceil(side / stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2
