"""Build .tflite files without TensorFlow: the object API that LiteRT ships, and flatbuffers.

build = Builder()
x = build.tensor("x", (1, 4))
y = build.tensor("y", (1, 2))
build.fully_connected(x, weights, bias, y)
content = build.finish([x], [y])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import ArrayLike, NDArray

Op = schema.BuiltinOperator
Options = schema.BuiltinOptions
Type = schema.TensorType

TYPES = {
    "float32": Type.FLOAT32,
    "float16": Type.FLOAT16,
    "int8": Type.INT8,
    "uint8": Type.UINT8,
    "int16": Type.INT16,
    "int32": Type.INT32,
    "int64": Type.INT64,
    "bool": Type.BOOL,
}


class Builder:
    """One subgraph; tensors are referred to by the index `tensor` returns."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[tuple[int, int], int] = {}
        self.buffers: list[Any] = [schema.BufferT()]
        self.custom_code: bytes | None = None

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        data: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        axis: int = 0,
        variable: bool = False,
    ) -> int:
        """Add a tensor: a constant where `data` is given; quantised where `scale` is."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), np.array(shape, np.int32)
        tensor.type, tensor.isVariable, tensor.buffer = TYPES[dtype], variable, 0
        if data is not None:
            tensor.buffer = self.buffer(np.ascontiguousarray(np.asarray(data, dtype)))
        tensor.quantization = schema.QuantizationParametersT()
        if scale is not None:
            tensor.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization.zeroPoint = np.atleast_1d(np.asarray(zero_point, np.int64))
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def buffer(self, data: NDArray[Any]) -> int:
        """Add a buffer of raw bytes and return its index."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def op(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, version: int = 1
    ) -> None:
        """Add an operator; the options' table names its own union member."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault((code, version), len(self.codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        operator.builtinOptions = options
        if options is not None:
            operator.builtinOptionsType = getattr(Options, type(options).__name__.removesuffix("T"))
        self.operators.append(operator)

    def custom(self, name: str, inputs: Sequence[int], outputs: Sequence[int], settings: object) -> None:
        """Add a custom operator; its settings go into a FlexBuffer."""
        self.op(Op.CUSTOM, inputs, outputs)
        self.custom_code = name.encode()
        self.operators[-1].customOptions = np.frombuffer(flexbuffers.Dumps(settings), np.uint8)

    def fully_connected(self, x: int, weights: ArrayLike, bias: ArrayLike, y: int) -> None:
        """y = x weights' + bias, in float32; weights (outputs, inputs)."""
        weights, bias = np.asarray(weights, np.float32), np.asarray(bias, np.float32)
        w = self.tensor("weights", weights.shape, data=weights)
        b = self.tensor("bias", bias.shape, data=bias)
        self.op(Op.FULLY_CONNECTED, [x, w, b], [y], options("FullyConnected"))

    def model(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        """The model as the object API's tree, to be packed or first mangled."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, b"main"
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = [self._code(code, version) for code, version in self.codes]
        return model

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The .tflite file."""
        return pack(self.model(inputs, outputs))

    def _code(self, code: int, version: int) -> Any:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
        entry.customCode = self.custom_code if code == Op.CUSTOM else None
        return entry


def options(name: str, **fields: object) -> Any:
    """A builtin options table by its name ("Conv2D"), fields as in the schema, strides and dilations 1."""
    table = getattr(schema, f"{name}OptionsT")()
    ones = {"strideH", "strideW", "dilationHFactor", "dilationWFactor", "depthMultiplier"} & set(vars(table))
    values: Mapping[str, object] = dict.fromkeys(ones, 1) | fields
    for field, value in values.items():
        if not hasattr(table, field):
            raise AttributeError(f"{name}Options has no {field}")
        setattr(table, field, value)
    return table


def pack(model: Any) -> bytes:
    """An object tree as a .tflite file."""
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def unpack(content: bytes) -> Any:
    """A .tflite file as an object tree."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
