"""Write and read TFLite files operator by operator, with flatbuffers and the schema in ai-edge-litert.

The bytes depend on nothing but the calls made: the same calls give the same file on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Op = schema.BuiltinOperator
TYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
}


class Quant(NamedTuple):
    """real = scale * (stored - zero_point); one scale a tensor, or one a slice along `axis`."""

    scale: float | NDArray[np.float64]
    zero_point: int = 0
    axis: int = 0


class Graph:
    """One subgraph under construction; tensors and operators are named by the index their maker returns."""

    def __init__(self, description: str = "") -> None:
        self._description = description
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # by the schema's rule, buffer 0 is the empty one
        self._codes: list[Any] = []
        self._code_index: dict[tuple[int, int], int] = {}
        self._metadata: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        quant: Quant | None = None,
        signature: Sequence[int] | None = None,
        variable: bool = False,
    ) -> int:
        """A tensor that is fed or computed; `signature` repeats the shape with -1 for each free dimension."""
        return self._add_tensor(
            name, shape, dtype, buffer=0, quant=quant, signature=signature, variable=variable
        )

    def constant(self, name: str, values: NDArray[Any], *, quant: Quant | None = None) -> int:
        """A tensor whose values are in the file."""
        return self._add_tensor(
            name, values.shape, values.dtype.name, buffer=self._add_buffer(values.tobytes()), quant=quant
        )

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any | None = None,
        version: int = 1,
    ) -> None:
        """An operator from `Op`, with the schema's options object for it, in a version runtimes know."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._operator_code(code, version)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        self._operators.append(operator)

    def metadata(self, name: str, data: bytes) -> None:
        """A named blob that readers may look for and the runtime ignores."""
        entry = schema.MetadataT()
        entry.name = name.encode()
        entry.buffer = self._add_buffer(data)
        self._metadata.append(entry)

    def model(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
        """The model as the schema's ModelT, open to changes; inputs and outputs by their signature names."""
        subgraph = schema.SubGraphT()
        subgraph.name = b"main"
        subgraph.tensors = self._tensors
        subgraph.operators = self._operators
        subgraph.inputs = np.array(list(inputs.values()), np.int32)
        subgraph.outputs = np.array(list(outputs.values()), np.int32)
        model = schema.ModelT()
        model.version = 3
        model.description = self._description.encode()
        model.subgraphs = [subgraph]
        model.buffers = self._buffers
        model.operatorCodes = self._codes
        model.metadata = self._metadata
        model.signatureDefs = [_signature(inputs, outputs)]
        return model

    def _add_tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        *,
        buffer: int,
        quant: Quant | None,
        signature: Sequence[int] | None = None,
        variable: bool = False,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = TYPES[dtype]
        tensor.buffer = buffer
        tensor.isVariable = variable
        tensor.quantization = _quantization(quant)
        if signature is not None:
            tensor.shapeSignature = np.array(signature, np.int32)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _add_buffer(self, data: bytes) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)  # an array packs in one copy, a list item by item
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _operator_code(self, code: int, version: int) -> int:
        if (code, version) not in self._code_index:
            entry = schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = version
            self._codes.append(entry)
            self._code_index[code, version] = len(self._codes) - 1
        return self._code_index[code, version]


def pack(model: Any) -> bytes:
    """The .tflite file of a ModelT, whatever it holds: nothing is checked."""
    builder = flatbuffers.Builder(1 << 16)
    builder.vtables = _NothingShared()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> Any:
    """The ModelT of a .tflite file, to be changed and packed again."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


class _NothingShared(dict[Any, Any]):
    """Remembers no vtable: which objects may share one changed in flatbuffers 25.12, and with it the bytes."""

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ARG002 - no key is ever found
        return default


def _quantization(quant: Quant | None) -> Any:
    result = schema.QuantizationParametersT()
    if quant is not None:
        result.scale = np.atleast_1d(np.asarray(quant.scale, np.float32))
        result.zeroPoint = np.full(result.scale.size, quant.zero_point, np.int64)
        result.quantizedDimension = quant.axis
    return result


def _signature(inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs = [_named(name, index) for name, index in inputs.items()]
    signature.outputs = [_named(name, index) for name, index in outputs.items()]
    return signature


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = index
    return entry
