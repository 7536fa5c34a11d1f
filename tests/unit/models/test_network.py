from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.build.graph import Graph, Op, Quant, pack, unpack
from models.build.network import Conv, Dense, Depthwise, Layer, Mean, Port, Residual, Softmax, affine, build

SOURCE = Port("x", (1, 7, 5, 3), Quant(1 / 32, 0))


def random_layers(seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        Conv(rng.normal(size=(8, 3, 3, 3)) / 5, rng.normal(size=8) / 5, 2, "relu6"),
        Residual(
            (
                Conv(rng.normal(size=(6, 1, 1, 8)) / 3, rng.normal(size=6) / 5, 1, "relu"),
                Depthwise(rng.normal(size=(1, 3, 3, 6)) / 3, rng.normal(size=6) / 5, 1, "relu6"),
                Conv(rng.normal(size=(8, 1, 1, 6)) / 3, rng.normal(size=8) / 5),
            )
        ),
        Mean(),
        Dense(rng.normal(size=(4, 8)), rng.normal(size=4)),
        Softmax(),
    ]


def oracle(layers: list[Layer], x: NDArray[Any], seen: dict[str, tuple[float, float]]) -> NDArray[Any]:
    """The same network in float64 and plain loops; notes each activation's range under its name."""
    for layer in layers:
        if isinstance(layer, Residual):
            x = x + oracle(list(layer.inner), x, seen)
        elif isinstance(layer, Conv):
            x = convolve(x, layer.weights, layer.bias, layer.stride)
        elif isinstance(layer, Depthwise):
            diagonal = np.zeros((x.shape[2], *layer.weights.shape[1:3], x.shape[2]))
            for channel in range(x.shape[2]):
                diagonal[channel, :, :, channel] = layer.weights[0, :, :, channel]
            x = convolve(x, diagonal, layer.bias, layer.stride)
        elif isinstance(layer, Dense):
            x = layer.weights @ x + layer.bias
        elif isinstance(layer, Mean):
            x = x.mean(axis=(0, 1))
        else:
            x = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        x = {"relu": lambda v: np.maximum(v, 0), "relu6": lambda v: np.clip(v, 0, 6)}.get(
            getattr(layer, "activation", "none"), lambda v: v
        )(x)
        seen[f"a{len(seen) + 1}"] = (float(x.min()), float(x.max()))
    return x


def convolve(x: NDArray[Any], weights: NDArray[Any], bias: NDArray[Any], stride: int) -> NDArray[Any]:
    size = weights.shape[1]
    out = np.zeros((-(-x.shape[0] // stride), -(-x.shape[1] // stride), len(bias)))
    before = [max((-(-side // stride) - 1) * stride + size - side, 0) // 2 for side in x.shape[:2]]
    for row, column in np.ndindex(*out.shape[:2]):
        out[row, column] = bias
        for dy, dx in np.ndindex(size, size):
            y, z = row * stride + dy - before[0], column * stride + dx - before[1]
            if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]:
                out[row, column] += weights[:, dy, dx] @ x[y, z]
    return out


def run(model: bytes, x: NDArray[Any]) -> NDArray[Any]:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    out: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return out


def test_a_float_network_computes_what_the_layers_say() -> None:
    layers, x = random_layers(), np.random.default_rng(1).normal(size=(7, 5, 3))
    answer = run(build(layers, SOURCE, "p"), x[None].astype(np.float32))
    assert np.abs(answer[0] - oracle(layers, x, {})).max() < 1e-5


def test_an_int8_network_stays_close_to_the_float_one() -> None:
    layers, stored = random_layers(), np.random.default_rng(1).integers(-64, 64, (1, 7, 5, 3)).astype(np.int8)
    ranges: dict[str, tuple[float, float]] = {}
    expected = oracle(layers, stored[0] / 32, ranges)
    answer = run(build(layers, SOURCE, "p", ranges=ranges), stored)
    assert answer.dtype == np.int8
    assert np.abs((answer[0].astype(int) + 128) / 256 - expected).max() < 0.05


def test_one_network_gives_the_same_bytes_every_time() -> None:
    assert build(random_layers(), SOURCE, "p") == build(random_layers(), SOURCE, "p")


def test_a_channel_whose_weights_are_nearly_zero_keeps_its_bias_in_int8() -> None:
    weights, bias = np.zeros((2, 1, 1, 3)), np.array([2.0, -3.0])
    weights[0] = 1e-12
    layers: list[Layer] = [Conv(weights, bias)]
    model = build(layers, SOURCE, "y", ranges={"a1": (-3.0, 2.0)})
    answer = run(model, np.full((1, 7, 5, 3), 64, np.int8))
    quant = affine(-3.0, 2.0)
    real = (answer.astype(int) - quant.zero_point) * quant.scale
    assert np.abs(real - bias).max() < 0.02


def test_a_model_taken_apart_and_changed_packs_again() -> None:
    model = unpack(build(random_layers(), SOURCE, "p"))
    model.description = b"changed"
    again = unpack(pack(model))
    assert again.description == b"changed"
    assert len(again.subgraphs[0].operators) == len(model.subgraphs[0].operators)


def test_inputs_and_outputs_carry_their_signature_names() -> None:
    interpreter = Interpreter(model_content=build(random_layers(), SOURCE, "p"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["x"], "outputs": ["p"]}}


def test_a_free_dimension_can_be_resized() -> None:
    graph = Graph("doubles")
    source, target = (graph.tensor(name, (1, 3), signature=(-1, 3)) for name in "xy")
    graph.operator(Op.ADD, (source, source), (target,))
    interpreter = Interpreter(model_content=pack(graph.model({"x": source}, {"y": target})))
    interpreter.resize_tensor_input(source, (4, 3), strict=True)
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape_signature"].tolist() == [-1, 3]


def test_metadata_is_kept_beside_the_graph() -> None:
    graph = Graph()
    source, target = graph.tensor("x", (1,)), graph.tensor("y", (1,))
    graph.operator(Op.NEG, (source,), (target,))
    graph.metadata("origin", b"here")
    model = unpack(pack(graph.model({"x": source}, {"y": target})))
    assert bytes(model.buffers[model.metadata[0].buffer].data) == b"here"


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint8"])
def test_constants_keep_their_type_and_values(dtype: str) -> None:
    graph = Graph()
    index = graph.constant("c", np.array([1, 2, 3], dtype))
    model = unpack(pack(graph.model({"c": index}, {"c": index})))
    tensor = model.subgraphs[0].tensors[0]
    assert np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype).tolist() == [1, 2, 3]
