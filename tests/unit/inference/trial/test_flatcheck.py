from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.inference.trial import flatcheck
from tests.rig.hostile import bases, convolution, dense, quantised
from tests.rig.tflite import pack, unpack


def mangled(content: bytes, change: Callable[[Any], object]) -> str | None:
    model = unpack(content)
    change(model)
    return flatcheck.problem(pack(model))


@pytest.mark.parametrize("content", bases())
def test_healthy_models_pass(content: bytes) -> None:
    assert flatcheck.problem(content) is None


def graph(model: Any) -> Any:
    return model.subgraphs[0]


def put(holder: Any, field: str, values: list[int]) -> None:
    setattr(holder, field, np.array(values, np.int32))


def call_itself(model: Any) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = 129, 127, 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.CallOnceOptions,
        schema.CallOnceOptionsT(),
    )
    graph(model).operators.insert(0, operator)


def negative_code(model: Any) -> None:
    code = model.operatorCodes[0]
    code.deprecatedBuiltinCode = code.builtinCode = -3


def quantise(model: Any, **fields: Any) -> None:
    """Change the input's zero point, or anything else of the weights' quantisation."""
    for name, value in fields.items():
        tensor = graph(model).tensors[0 if name == "zeroPoint" else 1]
        setattr(tensor.quantization, name, value)


def sparse(model: Any) -> None:
    graph(model).tensors[1].sparsity = schema.SparsityParametersT()


LIES: list[tuple[Callable[[], bytes], Callable[[Any], object], str]] = [
    (dense, lambda m: setattr(m, "version", 9), "schema version 9"),
    (dense, lambda m: m.subgraphs.clear(), "there is no subgraph"),
    (dense, lambda m: m.operatorCodes.pop(), "operator code 1 of 1"),
    (dense, negative_code, "operator code -3 is negative"),
    (dense, lambda m: setattr(graph(m).tensors[0], "buffer", 99), "tensor 0: buffer 99 of 5"),
    (dense, lambda m: put(graph(m).tensors[0], "shape", [1, -8]), "tensor 0: shape [1, -8]"),
    (dense, lambda m: put(graph(m).tensors[0], "shape", [1 << 20, 1 << 20]), "the cap is"),
    (dense, lambda m: setattr(graph(m).tensors[0], "type", 77), "unknown type 77"),
    (dense, lambda m: put(graph(m).tensors[4], "shape", [6, 9]), "constant bytes for a shape of 216"),
    (dense, lambda m: setattr(graph(m).tensors[4], "isVariable", True), "a variable with a constant buffer"),
    (dense, sparse, "sparse weights"),
    (dense, lambda m: put(graph(m), "inputs", [55]), "input 55 of"),
    (dense, lambda m: put(graph(m), "inputs", [0, 0]), "one tensor is two inputs"),
    (dense, lambda m: put(graph(m), "inputs", [4]), "input 4 is a constant"),
    (dense, lambda m: put(graph(m), "inputs", []), "reads tensor 0, which nothing wrote before"),
    (dense, lambda m: graph(m).operators.pop(), "nothing writes output 3"),
    (dense, lambda m: graph(m).operators.reverse(), "which nothing wrote before"),
    (dense, lambda m: put(graph(m).operators[1], "outputs", [1]), "writes tensor 1 a second time"),
    (dense, lambda m: put(graph(m).operators[1], "inputs", [-7, 4, 5]), "input -7 of"),
    (dense, call_itself, "subgraph 0 calls itself"),
    (quantised, lambda m: quantise(m, scale=np.array([0.1, 0.2], np.float32)),
     "2 scales along dimension 0 of [4, 3, 3, 2]"),
    (quantised, lambda m: quantise(m, quantizedDimension=9), "4 scales along dimension 9"),
    (quantised, lambda m: quantise(m, scale=np.array([np.nan], np.float32)), "not finite"),
    (quantised, lambda m: quantise(m, zeroPoint=np.array([300], np.int64)), "zero point outside -128 to 127"),
    (convolution, lambda m: setattr(m.buffers[2], "offset", 1 << 40), "lies outside the flatbuffer"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "change", "named"), LIES, ids=[named for *_, named in LIES])
def test_a_lie_is_named(content: Callable[[], bytes], change: Callable[[Any], object], named: str) -> None:
    problem = mangled(content(), change)
    assert problem
    assert named in problem


def test_other_files_are_not_taken_for_models() -> None:
    assert flatcheck.problem(b"") == "not a TFL3 file"
    assert flatcheck.problem(b"\x08\0\0\0TFL3") is not None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_make_the_check_itself_fail(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([dense(), convolution(), quantised()])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    problem = flatcheck.problem(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert problem is None or isinstance(problem, str)
