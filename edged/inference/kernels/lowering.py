"""What numba has to be told to compile the kernels: their types, their helpers, and one vector operation.

Imported where something is compiled (`build.py`, `jit.py`) and nowhere else.
"""

# ruff: noqa: ARG001 - what extends numba takes what the call it stands for does
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numba.extending
from llvmlite import ir
from numba.core.compiler_lock import global_compiler_lock

from edged.inference.kernels import image, sources
from edged.inference.kernels.abi import PREFIX, Kernel

# numba's annotations know neither its own keywords nor its intrinsics' call form
_types: Any = numba.types
_njit: Any = numba.njit
_numba_extending: Any = numba.extending

_LANES = 4
_BYTES = ir.VectorType(ir.IntType(8), _LANES)
_FLOATS = ir.VectorType(ir.FloatType(), _LANES)
_FMA = ("contract",)

TYPES: dict[str, Any] = {
    "u1*": _types.CPointer(_types.uint8),
    "i1*": _types.CPointer(_types.int8),
    "i2*": _types.CPointer(_types.int16),
    "i8*": _types.CPointer(_types.int64),
    "f4*": _types.CPointer(_types.float32),
    "i8": _types.int64,
    "f4": _types.float32,
}


def flags(kernel: Kernel) -> dict[str, Any]:
    """The compiler's flags: IEEE division, no bounds checks, no fastmath but FMA where the kernel allows it."""
    fastmath = set(_FMA) if kernel.contract else False
    return {"error_model": "numpy", "boundscheck": False, "fastmath": fastmath}


def signature(kernel: Kernel) -> Any:
    """The kernel's numba signature."""
    return _types.int64(*[TYPES[kind] for kind in kernel.arguments])


for _helper in sources.HELPERS:
    _numba_extending.register_jitable(_helper)


def _compiled_lerp_lanes(
    src: Any, p: Any, q: Any, r: Any, s: Any, f: Any, fy: Any, floats: Any, swap: Any, line: Any, o: Any
) -> None:
    _lerp_lanes(src, p, q, r, s, f, fy, floats, swap, line, o)


@_numba_extending.overload(image.lerp_lanes, strict=False)  # type: ignore[untyped-decorator] # Any, see above
def _overload_lerp_lanes(*_arguments: Any) -> Any:
    return _compiled_lerp_lanes


@_numba_extending.intrinsic  # type: ignore[untyped-decorator] # likewise
def _lerp_lanes(
    _context: Any,
    src: Any,
    p: Any,
    q: Any,
    r: Any,
    s: Any,
    f: Any,
    fy: Any,
    floats: Any,
    swap: Any,
    line: Any,
    o: Any,
) -> Any:
    u1, f4, at, share = TYPES["u1*"], TYPES["f4*"], TYPES["i8"], TYPES["f4"]
    signature = _types.void(u1, at, at, at, at, share, share, f4, at, f4, at)

    def generate(_context: Any, builder: Any, _signature: Any, args: Sequence[Any]) -> None:
        src, p, q, r, s, f, fy, floats, swap, line, o = args
        corners = [_pixel(builder, src, index) for index in (p, q, r, s)]
        above = _between(builder, corners[0], corners[1], f)
        below = _between(builder, corners[2], corners[3], f)
        value = _between(builder, above, below, fy)
        turned = builder.shuffle_vector(value, value, _mask([2, 1, 0, 3]))
        value = builder.select(builder.icmp_signed("!=", swap, swap.type(0)), turned, value)
        scale, bias = (_floats(builder, floats, slot) for slot in (image.SCALE, image.BIAS))
        value = builder.fadd(builder.fmul(value, scale, flags=_FMA), bias, flags=_FMA)
        builder.store(value, _vector_at(builder, line, o, _FLOATS), align=4)

    return signature, generate


def _pixel(builder: Any, pointer: Any, index: Any) -> Any:
    """Four bytes from `index`, as floats."""
    return builder.uitofp(builder.load(_vector_at(builder, pointer, index, _BYTES), align=1), _FLOATS)


def _floats(builder: Any, pointer: Any, slot: int) -> Any:
    return builder.load(_vector_at(builder, pointer, ir.IntType(64)(slot), _FLOATS), align=4)


def _vector_at(builder: Any, pointer: Any, index: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _between(builder: Any, a: Any, b: Any, share: Any) -> Any:
    """A * (1 - share) + b * share in every lane."""
    rest = builder.fsub(share.type(1.0), share)
    a = builder.fmul(a, _splat(builder, rest), flags=_FMA)
    return builder.fadd(a, builder.fmul(b, _splat(builder, share), flags=_FMA), flags=_FMA)


def _splat(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, _mask([0] * _LANES))


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def ir_text(kernel: Kernel) -> str:
    """The kernel as optimised LLVM IR, with an entry `edged_<name>` that any C caller can call."""
    compiled = _njit(signature(kernel), no_cpython_wrapper=True, no_cfunc_wrapper=True, **flags(kernel))(
        kernel.function
    )
    (result,) = compiled.overloads.values()
    context, description = result.target_context, result.fndesc
    library = context.codegen().create_library(PREFIX + kernel.name)
    module = library.create_ir_module(PREFIX + kernel.name)
    inner_type = context.call_conv.get_function_type(description.restype, description.argtypes)
    inner = ir.Function(module, inner_type, name=description.llvm_func_name)
    arguments = [context.get_value_type(kind) for kind in description.argtypes]
    outer_type = ir.FunctionType(context.get_value_type(description.restype), arguments)
    outer = ir.Function(module, outer_type, name=PREFIX + kernel.name)
    builder = ir.IRBuilder(outer.append_basic_block())
    _, answer = context.call_conv.call_function(
        builder, inner, description.restype, description.argtypes, outer.args
    )
    builder.ret(answer)
    library.add_ir_module(module)
    library.add_linking_library(result.library)
    with global_compiler_lock:
        library.finalize()
    text: str = library.get_llvm_str()
    return text
