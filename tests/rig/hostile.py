"""Model files that mean harm: corrupted bytes, and well-formed flatbuffers whose structure lies.

Everything is drawn from the generator it is given, so a seed repeats a case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib.resources import files
from random import Random
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.rig.tflite import Builder, Op, Options, Type, options, pack, unpack

WAKE_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
WILD = (-(1 << 31), -1000, -2, -1, 0, 1, 2, 3, 7, 255, 4096, 65536, 1 << 24, (1 << 31) - 1)


def bases() -> list[bytes]:
    """Healthy models to start from: small ones of our own and four streaming ones that are in use."""
    words = [(files("pymicro_wakeword") / "models" / f"{word}.tflite").read_bytes() for word in WAKE_WORDS]
    return [dense(), convolution(), quantised(), *words]


def dense() -> bytes:
    """Two fully connected layers and a softmax, float32."""
    rng, build = np.random.default_rng(1), Builder()
    x, hidden, logits, y = (
        build.tensor(name, shape)
        for name, shape in (("x", (1, 8)), ("h", (1, 6)), ("l", (1, 4)), ("y", (1, 4)))
    )
    build.fully_connected(x, rng.standard_normal((6, 8)), rng.standard_normal(6), hidden)
    build.fully_connected(hidden, rng.standard_normal((4, 6)), rng.standard_normal(4), logits)
    build.op(Op.SOFTMAX, [logits], [y], options("Softmax", beta=1.0))
    return build.finish([x], [y])


def convolution() -> bytes:
    """Convolution, depthwise convolution, padding, addition, mean, gather and reshape, float32."""
    rng, build = np.random.default_rng(2), Builder()
    x, c, d, s = (build.tensor(name, (1, 8, 8, 4)) for name in "xcds")
    x = build.tensor("picture", (1, 16, 16, 3))
    w = build.tensor("w", (4, 3, 3, 3), data=rng.standard_normal((4, 3, 3, 3)))
    v = build.tensor("v", (1, 3, 3, 4), data=rng.standard_normal((1, 3, 3, 4)))
    b = build.tensor("b", (4,), data=rng.standard_normal(4))
    build.op(Op.CONV_2D, [x, w, b], [c], options("Conv2D", strideH=2, strideW=2))
    build.op(Op.DEPTHWISE_CONV_2D, [c, v, b], [d], options("DepthwiseConv2D"))
    build.op(Op.ADD, [c, d], [s], options("Add"))
    axes = build.tensor("axes", (2,), "int32", data=[1, 2])
    mean = build.tensor("mean", (1, 4))
    build.op(Op.MEAN, [s, axes], [mean], options("Reducer"))
    order = build.tensor("order", (4,), "int32", data=[3, 1, 2, 0])
    gathered = build.tensor("gathered", (1, 4))
    build.op(Op.GATHER, [mean, order], [gathered], options("Gather", axis=1))
    shape = build.tensor("shape", (2,), "int32", data=[2, 2])
    y = build.tensor("y", (2, 2))
    build.op(Op.RESHAPE, [gathered, shape], [y], options("Reshape", newShape=np.array([2, 2], np.int32)))
    return build.finish([x], [y])


def quantised() -> bytes:
    """A per-channel int8 convolution, pooling and a fully connected layer."""
    rng, build = np.random.default_rng(3), Builder()
    x = build.tensor("x", (1, 12, 12, 2), "int8", scale=0.02, zero_point=-3)
    scales = [0.01, 0.02, 0.03, 0.04]
    w = build.tensor(
        "w",
        (4, 3, 3, 2),
        "int8",
        data=rng.integers(-127, 128, (4, 3, 3, 2)),
        scale=scales,
        zero_point=[0] * 4,
    )
    b = build.tensor(
        "b",
        (4,),
        "int32",
        data=rng.integers(-500, 500, 4),
        scale=[s * 0.02 for s in scales],
        zero_point=[0] * 4,
    )
    c = build.tensor("c", (1, 12, 12, 4), "int8", scale=0.1, zero_point=0)
    build.op(Op.CONV_2D, [x, w, b], [c], options("Conv2D"), version=3)
    p = build.tensor("p", (1, 1, 1, 4), "int8", scale=0.1, zero_point=0)
    pool = options("Pool2D", filterWidth=12, filterHeight=12, padding=schema.Padding.VALID)
    build.op(Op.AVERAGE_POOL_2D, [c], [p], pool, version=2)
    f = build.tensor("f", (3, 4), "int8", data=rng.integers(-127, 128, (3, 4)), scale=0.01)
    g = build.tensor("g", (3,), "int32", data=[1, 2, 3], scale=0.001)
    y = build.tensor("y", (1, 3), "int8", scale=0.1, zero_point=0)
    build.op(Op.FULLY_CONNECTED, [p, f, g], [y], options("FullyConnected"), version=4)
    return build.finish([x], [y])


def corrupted(random: Random, models: list[bytes]) -> bytes:
    """A healthy file with its bytes cut short, flipped, overwritten, moved or mixed with another's."""
    content = bytearray(random.choice(models))
    match random.randrange(5):
        case 0:
            del content[random.randrange(len(content)) :]
        case 1:
            for _ in range(random.choice((1, 2, 8, 64))):
                content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        case 2:  # offsets and tables gather at both ends: aim there
            edge = random.choice((0, max(0, len(content) - 4096)))
            for _ in range(random.choice((1, 4, 16))):
                content[edge + random.randrange(min(4096, len(content) - edge))] = random.randrange(256)
        case 3:
            other, at = random.choice(models), random.randrange(len(content))
            content[at:] = other[random.randrange(len(other)) :]
        case _:
            at, length = random.randrange(len(content)), random.choice((1, 4, 16, 256))
            to = random.randrange(len(content))
            piece = content[at : at + length]
            content[to : to + len(piece)] = piece
    return bytes(content)


def structural(random: Random, models: list[bytes]) -> bytes:
    """A well-formed flatbuffer whose structure is mangled in one to three places, or a lone random operator."""
    if random.random() < 0.3:
        return lone_operator(random)
    while True:
        model = unpack(random.choice(models))
        with contextlib.suppress(
            Exception
        ):  # some trees can be mangled no further, or do not pack: draw another
            for _ in range(random.choice((1, 1, 2, 3))):
                random.choice(MANGLERS)(random, model)
            return pack(model)


def lone_operator(random: Random) -> bytes:
    """One operator of any code on tensors of any shape and type, constants among them."""
    while True:
        build = Builder()
        build.buffers += [_buffer(random.randbytes(random.choice((4, 16, 64)))) for _ in range(2)]
        kinds = [
            random.choice(("float32", "float32", "int8", "uint8", "int16", "int32", "int64", "bool"))
            for _ in range(6)
        ]
        tensors = []
        for number, kind in enumerate(kinds):
            shape = tuple(random.choice((1, 1, 2, 3, 4, 8)) for _ in range(random.randrange(5)))
            size = int(np.prod(shape))
            data = (
                [random.choice((-5, -1, 0, 0, 1, 1, 2, 3, 100)) % 128 for _ in range(size)]
                if random.random() < 0.5
                else None
            )
            scale = 0.1 if kind in ("int8", "uint8", "int16") else None
            if number == 0:
                data = None
            values = None if data is None else np.reshape(data, shape)
            tensors.append(build.tensor(f"t{number}", shape, kind, data=values, scale=scale))
        inputs = tensors[: random.randrange(1, 5)]
        outputs = tensors[len(inputs) : len(inputs) + random.choice((1, 1, 1, 2))]
        for index in outputs:
            build.tensors[index].buffer = 0
        kind = random.choice([name for name in vars(Options) if not name.startswith("_") and name != "NONE"])
        table = _wild_options(random, kind) if random.random() < 0.8 else None
        code = _code_of(kind) if random.random() < 0.8 else random.randrange(210)
        with contextlib.suppress(Exception):  # options the object API cannot write: draw another
            build.op(code, inputs, outputs, table, version=random.choice((1, 1, 2, 3)))
            free = [index for index in inputs if build.tensors[index].buffer == 0]
            return build.finish(free, outputs)


def _wild_options(random: Random, kind: str) -> Any:
    table = getattr(schema, f"{kind}T")()
    for field, value in vars(table).items():
        if isinstance(value, bool):
            setattr(table, field, random.random() < 0.5)
        elif isinstance(value, int) and random.random() < 0.7:
            setattr(table, field, random.choice((0, 1, 1, 1, 2, 2, 3, -1, 5, 100)))
        elif isinstance(value, float):
            setattr(table, field, random.choice((0.0, 1.0, -1.0, 1e30)))
    return table


def _code_of(kind: str) -> int:
    """The operator an options table belongs to, by its name."""
    wanted = kind.removesuffix("Options").upper().replace("_", "")
    for name, code in vars(Op).items():
        if isinstance(code, int) and name.replace("_", "") == wanted:
            return code
    return int({"POOL2D": Op.AVERAGE_POOL_2D, "REDUCER": Op.MEAN}.get(wanted, Op.CUSTOM))


# --- manglers: each changes one thing of the object tree


def _index(random: Random, count: int) -> int:
    return random.choice(
        (-1, -2, count, count + 7, 1 << 30, random.randrange(max(1, count)), random.randrange(max(1, count)))
    )


def _graph(random: Random, model: Any) -> Any:
    return random.choice(model.subgraphs)


def _operator(random: Random, model: Any) -> Any:
    return random.choice(_graph(random, model).operators)


def _tensor(random: Random, model: Any) -> Any:
    return random.choice(_graph(random, model).tensors)


def _op_inputs(random: Random, model: Any) -> None:
    graph = _graph(random, model)
    operator = random.choice(graph.operators)
    indices = list(operator.inputs)
    if indices and random.random() < 0.8:
        indices[random.randrange(len(indices))] = _index(random, len(graph.tensors))
    elif random.random() < 0.5:
        indices = indices[:-1]
    else:
        indices.append(_index(random, len(graph.tensors)))
    operator.inputs = np.array(indices, np.int32)


def _op_outputs(random: Random, model: Any) -> None:
    graph = _graph(random, model)
    operator = random.choice(graph.operators)
    indices = list(operator.outputs)
    if indices and random.random() < 0.8:
        indices[random.randrange(len(indices))] = _index(random, len(graph.tensors))
    else:
        indices = [*indices, _index(random, len(graph.tensors))] if random.random() < 0.5 else []
    operator.outputs = np.array(indices, np.int32)


def _graph_sides(random: Random, model: Any) -> None:
    graph = _graph(random, model)
    side = random.choice(("inputs", "outputs"))
    indices = [*list(getattr(graph, side)), 0]
    indices[random.randrange(len(indices))] = _index(random, len(graph.tensors))
    setattr(graph, side, np.array(indices[: random.randrange(len(indices) + 1)], np.int32))


def _op_code(random: Random, model: Any) -> None:
    if random.random() < 0.4:
        _operator(random, model).opcodeIndex = abs(_index(random, len(model.operatorCodes)))
        return
    code = random.choice(model.operatorCodes)
    code.builtinCode = random.choice((random.randrange(210), random.randrange(210), -1, 1 << 20))
    code.deprecatedBuiltinCode = min(max(code.builtinCode, -128), 127)
    code.version = random.choice((1, 2, 3, 0, -1, 1000))


def _shape(random: Random, model: Any) -> None:
    tensor = _tensor(random, model)
    shape = [] if tensor.shape is None else list(tensor.shape)
    match random.randrange(4):
        case 0 if shape:
            shape[random.randrange(len(shape))] = random.choice(WILD)
        case 1:
            random.shuffle(shape)
        case 2:
            shape = shape[:-1]
        case _:
            shape.insert(random.randrange(len(shape) + 1), random.choice((0, 1, 2, 5)))
    tensor.shape = np.array(shape, np.int32)


def _type(random: Random, model: Any) -> None:
    _tensor(random, model).type = random.choice((*range(24), -1, 127, Type.STRING, Type.RESOURCE))


def _buffer_index(random: Random, model: Any) -> None:
    _tensor(random, model).buffer = abs(_index(random, len(model.buffers)))


def _buffer(content: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    return buffer


def _buffer_content(random: Random, model: Any) -> None:
    full = [b for b in model.buffers if b.data is not None and len(b.data)]
    if not full:
        return
    buffer = random.choice(full)
    content = bytes(bytearray(buffer.data))
    match random.randrange(5):
        case 0:
            content = content[: random.randrange(len(content))]
        case 1:
            content += random.randbytes(random.choice((1, 4, 4096)))
        case 2:
            content = random.randbytes(len(content))
        case 3 if len(content) >= 4:  # small constants are often axes, shapes and indices
            at = 4 * random.randrange(len(content) // 4)
            content = (
                content[:at] + (random.choice(WILD) & 0xFFFFFFFF).to_bytes(4, "little") + content[at + 4 :]
            )
        case _:
            content = bytes([random.choice((0, 0x7F, 0x80, 0xFF))]) * len(content)
    buffer.data = np.frombuffer(content, np.uint8)


def _constants(random: Random, model: Any) -> None:
    """Axes, shapes and indices: int32 constants, overwritten in place."""
    graph = _graph(random, model)
    whole = [t for t in graph.tensors if t.type == Type.INT32 and model.buffers[t.buffer].data is not None]
    whole = [t for t in whole if len(model.buffers[t.buffer].data) in range(4, 65)]
    if whole:
        buffer = model.buffers[random.choice(whole).buffer]
        values = np.frombuffer(bytes(bytearray(buffer.data)), np.int32).copy()
        values[random.randrange(len(values))] = random.choice(WILD)
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)


def _quantisation(random: Random, model: Any) -> None:
    tensor = _tensor(random, model)
    quantisation = schema.QuantizationParametersT()
    count = random.choice((0, 1, 2, 3, 1000))
    scale = random.choice((0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), 0.1))
    quantisation.scale = np.full(count, scale, np.float32)
    zeros = random.choice((count, count + 1, 0))
    quantisation.zeroPoint = np.full(zeros, random.choice((*WILD, 1 << 62)), np.int64)
    quantisation.quantizedDimension = random.choice(WILD)
    tensor.quantization = quantisation


def _options(random: Random, model: Any) -> None:
    operator = _operator(random, model)
    if operator.builtinOptions is None or random.random() < 0.2:
        operator.builtinOptionsType = random.randrange(128)
        return
    table = operator.builtinOptions
    fields = [f for f, v in vars(table).items() if isinstance(v, int | float)]
    if fields:
        setattr(
            table,
            random.choice(fields),
            random.choice((0, 1, 2, -1, 127)) if random.random() < 0.6 else random.choice(WILD),
        )


def _order(random: Random, model: Any) -> None:
    operators = _graph(random, model).operators
    match random.randrange(4):
        case 0:
            random.shuffle(operators)
        case 1:
            operators.append(random.choice(operators))
        case 2 if len(operators) > 1:
            operators.pop(random.randrange(len(operators)))
        case _:
            operator = random.choice(operators)
            operator.inputs = np.array([*operator.outputs, *list(operator.inputs)[1:]], np.int32)


def _flags(random: Random, model: Any) -> None:
    tensor = _tensor(random, model)
    match random.randrange(3):
        case 0:
            tensor.isVariable = not tensor.isVariable
        case 1:
            tensor.shapeSignature = np.array(
                [random.choice(WILD) for _ in range(random.randrange(6))], np.int32
            )
        case _:
            tensor.sparsity = schema.SparsityParametersT()
            tensor.sparsity.traversalOrder = np.array([random.choice(WILD)], np.int32)


def _calls(random: Random, model: Any) -> None:
    """A call to any subgraph, the caller among them."""
    graph = _graph(random, model)
    name, fields = random.choice((
        ("CallOnce", {"initSubgraphIndex": _index(random, len(model.subgraphs))}),
        ("While", {"condSubgraphIndex": _index(random, len(model.subgraphs)), "bodySubgraphIndex": 0}),
        ("If", {"thenSubgraphIndex": 0, "elseSubgraphIndex": _index(random, len(model.subgraphs))}),
    ))  # fmt: skip
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = {"CallOnce": 129, "While": 119, "If": 118}[name]
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    sides = (graph.inputs, graph.outputs) if name != "CallOnce" else ([], [])
    operator.inputs, operator.outputs = (np.array(list(side), np.int32) for side in sides)
    operator.builtinOptions = options(name, **fields)
    operator.builtinOptionsType = getattr(Options, f"{name}Options")
    graph.operators.insert(random.randrange(len(graph.operators) + 1), operator)


def _lists(random: Random, model: Any) -> None:
    match random.randrange(4):
        case 0:
            model.buffers = model.buffers[: random.randrange(len(model.buffers))]
        case 1:
            model.operatorCodes = model.operatorCodes[: random.randrange(len(model.operatorCodes))]
        case 2:
            model.subgraphs = model.subgraphs * 2
        case _:
            graph = _graph(random, model)
            graph.tensors = graph.tensors[: random.randrange(len(graph.tensors))]


MANGLERS: tuple[Callable[[Random, Any], None], ...] = (
    _op_inputs, _op_outputs, _graph_sides, _op_code, _shape, _shape, _type, _buffer_index, _buffer_content, _constants,
    _quantisation, _options, _options, _order, _flags, _calls, _lists,
)  # fmt: skip
