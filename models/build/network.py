"""A feed-forward network as layers, and its TFLite file: in float32, or in int8 from measured ranges.

Each activation is named a1, a2 … in the order it is computed; those names key the ranges. int8 follows the
TFLite quantisation specification: activations per tensor, convolutions symmetric per output channel, dense
weights symmetric per tensor, biases int32 at the product of both scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build.graph import Graph, Op, Quant, pack

Floats = NDArray[np.floating[Any]]
Ranges = Mapping[str, tuple[float, float]]
ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
PROBABILITY = Quant(1 / 256, -128)
"""What the specification demands of an int8 softmax's output."""


@dataclass(frozen=True)
class Conv:
    """2-D convolution, SAME padding; weights (out, height, width, in), bias (out,)."""

    weights: Floats
    bias: Floats
    stride: int = 1
    activation: str = "none"


@dataclass(frozen=True)
class Depthwise:
    """One filter a channel, SAME padding; weights (1, height, width, channels), bias (channels,)."""

    weights: Floats
    bias: Floats
    stride: int = 1
    activation: str = "none"


@dataclass(frozen=True)
class Dense:
    """Fully connected; weights (out, in), bias (out,)."""

    weights: Floats
    bias: Floats
    activation: str = "none"


@dataclass(frozen=True)
class Mean:
    """(1, height, width, channels) to (1, channels)."""


@dataclass(frozen=True)
class Softmax:
    """Logits to probabilities."""


@dataclass(frozen=True)
class Residual:
    """x + inner(x)."""

    inner: tuple[Conv | Depthwise, ...]


Layer = Conv | Depthwise | Dense | Mean | Softmax | Residual


class Port(NamedTuple):
    """The network's input: its signature name, shape, and what an int8 file stores for a value."""

    name: str
    shape: tuple[int, ...]
    quant: Quant


class _Value(NamedTuple):
    """A tensor of the graph under construction."""

    tensor: int
    shape: tuple[int, ...]
    quant: Quant | None


def build(
    layers: Iterable[Layer], source: Port, output: str, *, ranges: Ranges | None = None, description: str = ""
) -> bytes:
    """The .tflite file; float32 without `ranges`, else int8 from input to output."""
    writer = _Writer(description, source, ranges)
    value = writer.source
    for layer in layers:
        value = writer.add(layer, value)
    return writer.finish({source.name: writer.source.tensor}, {output: value.tensor})


def affine(low: float, high: float) -> Quant:
    """The int8 quantisation that covers low to high and represents 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-8)
    return Quant(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


class _Writer:
    def __init__(self, description: str, source: Port, ranges: Ranges | None) -> None:
        self._graph = Graph(description)
        self._ranges = ranges
        self._count = 0
        quant = source.quant if ranges is not None else None
        self.source = _Value(
            self._graph.tensor(source.name, source.shape, self._dtype, quant=quant), source.shape, quant
        )

    @property
    def _dtype(self) -> str:
        return "float32" if self._ranges is None else "int8"

    def finish(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> bytes:
        return pack(self._graph.model(inputs, outputs))

    def add(self, layer: Layer, value: _Value) -> _Value:
        match layer:
            case Conv():
                return self._convolution(layer, value, Op.CONV_2D, schema.Conv2DOptionsT(), channel_axis=0)
            case Depthwise():
                options = schema.DepthwiseConv2DOptionsT()
                options.depthMultiplier = 1
                return self._convolution(layer, value, Op.DEPTHWISE_CONV_2D, options, channel_axis=3)
            case Dense():
                return self._dense(layer, value)
            case Mean():
                return self._mean(value)
            case Softmax():
                return self._softmax(value)
            case Residual():
                return self._residual(layer, value)

    def _convolution(
        self, layer: Conv | Depthwise, value: _Value, code: int, options: Any, channel_axis: int
    ) -> _Value:
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = layer.stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = ACTIVATIONS[layer.activation]
        height, width = (-(-side // layer.stride) for side in value.shape[1:3])
        out = self._activation((1, height, width, layer.bias.size))
        parameters = self._parameters(layer.weights, layer.bias, value.quant, channel_axis)
        self._operator(code, (value.tensor, *parameters), out, options, int8_version=3)
        return out

    def _dense(self, layer: Dense, value: _Value) -> _Value:
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[layer.activation]
        out = self._activation((1, layer.bias.size))
        parameters = self._parameters(layer.weights, layer.bias, value.quant, channel_axis=None)
        self._operator(Op.FULLY_CONNECTED, (value.tensor, *parameters), out, options, int8_version=4)
        return out

    def _mean(self, value: _Value) -> _Value:
        axes = self._graph.constant("axes", np.array([1, 2], np.int32))
        out = self._activation((1, value.shape[3]))
        self._operator(Op.MEAN, (value.tensor, axes), out, schema.ReducerOptionsT(), int8_version=2)
        return out

    def _softmax(self, value: _Value) -> _Value:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        out = self._activation(value.shape, PROBABILITY)
        self._operator(Op.SOFTMAX, (value.tensor,), out, options, int8_version=2)
        return out

    def _residual(self, layer: Residual, value: _Value) -> _Value:
        inner = value
        for part in layer.inner:
            inner = self.add(part, inner)
        out = self._activation(inner.shape)
        self._operator(Op.ADD, (inner.tensor, value.tensor), out, schema.AddOptionsT(), int8_version=2)
        return out

    def _operator(
        self, code: int, inputs: tuple[int, ...], out: _Value, options: Any, int8_version: int
    ) -> None:
        version = 1 if self._ranges is None else int8_version
        self._graph.operator(code, inputs, (out.tensor,), options, version)

    def _activation(self, shape: tuple[int, ...], quant: Quant | None = None) -> _Value:
        self._count += 1
        name = f"a{self._count}"
        if self._ranges is None:
            quant = None
        elif quant is None:
            quant = affine(*self._ranges[name])
        return _Value(self._graph.tensor(name, shape, self._dtype, quant=quant), shape, quant)

    def _parameters(
        self, weights: Floats, bias: Floats, source: Quant | None, channel_axis: int | None
    ) -> tuple[int, int]:
        if source is None:
            return (
                self._graph.constant(f"w{self._count}", weights.astype(np.float32)),
                self._graph.constant(f"b{self._count}", bias.astype(np.float32)),
            )
        stored, scale = _quantise_weights(weights, bias, float(source.scale), channel_axis)
        bias_scale = scale * float(source.scale)
        axis = channel_axis or 0
        return (
            self._graph.constant(f"w{self._count}", stored, quant=Quant(scale, axis=axis)),
            self._graph.constant(
                f"b{self._count}",
                np.round(bias.astype(np.float64) / bias_scale).astype(np.int32),
                quant=Quant(bias_scale),
            ),
        )


def _quantise_weights(
    weights: Floats, bias: Floats, source_scale: float, channel_axis: int | None
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Symmetric int8 weights and their scales: one a channel, or one for all where `channel_axis` is None."""
    exact = weights.astype(np.float64)
    if channel_axis is None:
        peak, ceiling = (
            np.abs(exact).max(keepdims=True).reshape(1),
            np.abs(bias.astype(np.float64)).max(keepdims=True),
        )
        spread: tuple[int, ...] = (1,) * exact.ndim
    else:
        others = tuple(axis for axis in range(exact.ndim) if axis != channel_axis)
        peak, ceiling = np.abs(exact).max(axis=others), np.abs(bias.astype(np.float64))
        spread = tuple(-1 if axis == channel_axis else 1 for axis in range(exact.ndim))
    # A dead channel's tiny weights would put its bias beyond int32: such a channel takes a coarser scale.
    scale = np.maximum(np.maximum(peak, 1e-9) / 127, ceiling / (source_scale * 2**30))
    return np.clip(np.round(exact / scale.reshape(spread)), -127, 127).astype(np.int8), scale
