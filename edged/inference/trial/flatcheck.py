"""The structure of a .tflite file, checked before TFLite maps it.

Pure, and every read is bounds-checked. Finds what makes interpreters read or write outside their memory: offsets that
leave the file, indices that leave their list, constants shorter than their shape, values read before anything
wrote them, calls that never return. What each operator makes of its tensors is left to the runtime and the child.

Slots are those of tensorflow/compiler/mlir/lite/schema/schema.fbs (schema version 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, prod
from typing import NamedTuple

from edged.inference.trial.flatbuffer import Malformed, Table, root

IDENTIFIER = b"TFL3"
MAX_TENSORS, MAX_OPERATORS, MAX_SUBGRAPHS, MAX_RANK = 20_000, 20_000, 64, 8
MAX_TENSOR_BYTES = 1 << 28
MAX_IO = 64

# TensorType: bits an element
BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16,
    17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8,
}  # fmt: skip
STRING, RESOURCE, VARIANT = 5, 13, 14
RANGES = {3: (0, 255), 9: (-128, 127), 17: (-8, 7), 7: (-(1 << 15), (1 << 15) - 1)}

# BuiltinOptions members that name subgraphs: union tag -> slots
CALLS = {92: (0, 1), 93: (0, 1), 103: (0,)}  # If (then, else), While (cond, body), CallOnce (init)
CALLS_2 = {
    18: (),
    20: (),
    21: (1,),
}  # of BuiltinOptions2: Dilate, ReduceWindow, StableHLOComposite (decomposition)


class Tensor(NamedTuple):
    """What the checks need of a tensor."""

    shape: tuple[int, ...]
    type: int
    constant: bool
    variable: bool


def problem(data: bytes) -> str | None:
    """What is wrong with the file, or None."""
    try:
        _model(data)
    except Malformed as exc:
        return str(exc)
    return None


def _model(data: bytes) -> None:
    model = root(data, IDENTIFIER)
    if (version := model.scalar(0, "I", 0)) != 3:
        raise Malformed(f"schema version {version}, where 3 is known")
    codes = model.tables(1, MAX_OPERATORS)
    for table in codes:
        _check_code(table)
    graphs = model.tables(2, MAX_SUBGRAPHS)
    buffers = [_buffer(table, index) for index, table in enumerate(model.tables(4, MAX_TENSORS))]
    model.string(3)
    for index in model.numbers(5, "i"):
        _within(index, len(buffers), "metadata buffer")
    for table in model.tables(6, 1000):
        table.string(0)
        _within(table.scalar(1, "I", 0), len(buffers), "metadata buffer")
    if not graphs:
        raise Malformed("there is no subgraph")
    counts, calls = [], []
    for number, graph in enumerate(graphs):
        where = f"subgraph {number}"
        tensors = [
            _tensor(t, buffers, f"{where}, tensor {i}") for i, t in enumerate(graph.tables(0, MAX_TENSORS))
        ]
        calls.append(set(_graph(graph, tensors, len(codes), len(graphs), where)))
        counts.append(len(tensors))
    _acyclic(calls)
    _signatures(model, counts)


def _check_code(table: Table) -> None:
    table.string(1)
    code = max(table.scalar(0, "b", 0), table.scalar(3, "i", 0))
    if code < 0:
        raise Malformed(f"operator code {code} is negative")


def _buffer(table: Table, index: int) -> int:
    if table.scalar(1, "Q", 0) > 1 or table.scalar(2, "Q", 0) > 1:
        raise Malformed(f"buffer {index} lies outside the flatbuffer")
    return table.vector(0, 1)[1]


def _tensor(table: Table, buffers: Sequence[int], where: str) -> Tensor:
    shape, kind = table.numbers(0, "i"), table.scalar(1, "b", 0)
    table.string(3)
    if len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise Malformed(f"{where}: shape {list(shape[:MAX_RANK])}")
    signature = table.numbers(7, "i")
    if signature and (len(signature) != len(shape) or any(side < -1 for side in signature)):
        raise Malformed(f"{where}: shape_signature {list(signature[:MAX_RANK])} for shape {list(shape)}")
    if kind not in BITS and kind not in (STRING, RESOURCE, VARIANT):
        raise Malformed(f"{where}: unknown type {kind}")
    size = (prod(shape) * BITS.get(kind, 8) + 7) // 8
    if size > MAX_TENSOR_BYTES:
        raise Malformed(f"{where}: {size} bytes; the cap is {MAX_TENSOR_BYTES}")
    index, variable = table.scalar(2, "I", 0), bool(table.scalar(5, "b", 0))
    _within(index, len(buffers), f"{where}: buffer")
    constant = buffers[index] > 0
    if constant and variable:
        raise Malformed(f"{where}: a variable with a constant buffer")
    if table.table(6) is not None:
        raise Malformed(f"{where}: sparse weights, which no check here covers; use the dense model")
    if constant and kind in BITS and buffers[index] != size:
        raise Malformed(f"{where}: {buffers[index]} constant bytes for a shape of {size}")
    _quantisation(table.table(4), shape, kind, where)
    return Tensor(shape, kind, constant, variable)


def _quantisation(table: Table | None, shape: Sequence[int], kind: int, where: str) -> None:
    if table is None:
        return
    scales, zeros = table.numbers(2, "f"), table.numbers(3, "q")
    dimension = table.scalar(6, "i", 0)
    if not all(isfinite(scale) and scale >= 0 for scale in scales):
        raise Malformed(f"{where}: a quantisation scale that is negative or not finite")
    least, most = RANGES.get(kind, (-(1 << 31), (1 << 31) - 1))
    if kind in RANGES and not all(least <= zero <= most for zero in zeros):
        raise Malformed(f"{where}: a zero point outside {least} to {most}")
    if len(scales) > 1:
        if not 0 <= dimension < len(shape) or len(scales) != shape[dimension]:
            raise Malformed(f"{where}: {len(scales)} scales along dimension {dimension} of {list(shape)}")
        if len(zeros) not in (1, len(scales)):
            raise Malformed(f"{where}: {len(scales)} scales with {len(zeros)} zero points")
    elif zeros and len(zeros) != len(scales):
        raise Malformed(f"{where}: {len(scales)} scales with {len(zeros)} zero points")


class _Scope(NamedTuple):
    """What an operator may refer to."""

    tensors: int
    codes: int
    graphs: int
    written: set[int]
    """Tensors that hold something by now."""


def _graph(graph: Table, tensors: Sequence[Tensor], codes: int, graphs: int, where: str) -> Iterator[int]:
    """Check a subgraph's data flow; yields the subgraphs it calls."""
    graph.string(4)
    inputs, outputs = (graph.numbers(slot, "i") for slot in (1, 2))
    for side, indices in (("input", inputs), ("output", outputs)):
        if len(indices) > MAX_IO:
            raise Malformed(f"{where}: {len(indices)} {side}s; the cap is {MAX_IO}")
        for index in indices:
            _within(index, len(tensors), f"{where}: {side}")
    if len(set(inputs)) < len(inputs):
        raise Malformed(f"{where}: one tensor is two inputs")
    fixed = {i for i, tensor in enumerate(tensors) if tensor.constant}
    if clash := fixed & set(inputs):
        raise Malformed(f"{where}: input {min(clash)} is a constant")
    variables = {i for i, tensor in enumerate(tensors) if tensor.variable}
    scope = _Scope(len(tensors), codes, graphs, fixed | variables | set(inputs))
    for number, operator in enumerate(graph.tables(3, MAX_OPERATORS)):
        place = f"{where}, operator {number}"
        _flow(operator, scope, place)
        yield from _calls(operator, scope, place)
    for index in outputs:
        if index not in scope.written:
            raise Malformed(f"{where}: nothing writes output {index}")


def _flow(operator: Table, scope: _Scope, where: str) -> None:
    """An operator reads what was written before, and writes what nothing else does."""
    _within(operator.scalar(0, "I", 0), scope.codes, f"{where}: operator code")
    for index in operator.numbers(1, "i"):
        if index == -1:  # an optional input that is absent
            continue
        _within(index, scope.tensors, f"{where}: input")
        if index not in scope.written:
            raise Malformed(f"{where}: reads tensor {index}, which nothing wrote before")
    for index in operator.numbers(2, "i"):
        _within(index, scope.tensors, f"{where}: output")
        if index in scope.written:
            raise Malformed(f"{where}: writes tensor {index} a second time")
        scope.written.add(index)
    for index in operator.numbers(8, "i"):
        _within(index, scope.tensors, f"{where}: intermediate")


def _calls(operator: Table, scope: _Scope, where: str) -> Iterator[int]:
    """An operator's options lie in the file; yields the subgraphs they name."""
    operator.vector(5, 1)
    operator.vector(7, 1)
    if operator.scalar(9, "Q", 0) > 1:
        raise Malformed(f"{where}: options outside the flatbuffer")
    if (kind := operator.scalar(11, "B", 0)) and kind not in CALLS_2:
        raise Malformed(f"{where}: a StableHLO operator, which no check here covers")
    for options, slots in (
        (operator.table(4), CALLS.get(operator.scalar(3, "B", 0), ())),
        (operator.table(12), CALLS_2.get(kind, ())),
    ):
        for slot in slots:
            called = options.scalar(slot, "i", 0) if options else 0
            _within(called, scope.graphs, f"{where}: called subgraph")
            yield called


def _acyclic(calls: Sequence[set[int]]) -> None:
    done: set[int] = set()

    def visit(graph: int, above: tuple[int, ...]) -> None:
        if graph in above:
            raise Malformed(f"subgraph {graph} calls itself")
        if graph not in done:
            for called in calls[graph]:
                visit(called, (*above, graph))
            done.add(graph)

    for graph in range(len(calls)):
        visit(graph, ())


def _signatures(model: Table, counts: Sequence[int]) -> None:
    for signature in model.tables(7, 100):
        signature.string(2)
        graph = signature.scalar(4, "I", 0)
        _within(graph, len(counts), "signature: subgraph")
        for slot in (0, 1):
            for entry in signature.tables(slot, MAX_IO):
                entry.string(0)
                _within(entry.scalar(1, "I", 0), counts[graph], "signature: tensor")


def _within(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise Malformed(f"{what} {index} of {count}")
