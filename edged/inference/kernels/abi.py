"""How a kernel is called: its arguments, read off its annotations, as every backend must pass them.

A kernel is a plain function over flat arrays in the subset of Python that numba compiles. It loops, indexes
and computes; it neither allocates nor raises nor checks. Pointers become raw pointers when compiled, so each
backend passes addresses; interpreted, a kernel runs on numpy arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

U8 = Annotated[NDArray[np.uint8], "u1*"]
I8 = Annotated[NDArray[np.int8], "i1*"]
I16 = Annotated[NDArray[np.int16], "i2*"]
I64 = Annotated[NDArray[np.int64], "i8*"]
F32 = Annotated[NDArray[np.float32], "f4*"]
Count = Annotated[int, "i8"]
Real = Annotated[float, "f4"]
Answer = Annotated[int, "i8"]
Number = Any
"""What a kernel computes with between loads and stores; numba infers which type of number it is."""

FORMAT = 1
"""Raised when the calling convention or the shape of the shared object changes."""

PREFIX = "edged_"

_C_TYPES: Mapping[str, Any] = {"i8": ctypes.c_int64, "f4": ctypes.c_float}


class Kernel(NamedTuple):
    """A function to compile, and the types it is compiled for."""

    function: Callable[..., int]
    arguments: tuple[str, ...]
    """`i8` and `f4` by value, `u1* i1* i2* i8* f4*` by address."""
    contract: bool
    """Whether a multiply and an add may become one rounding (FMA); nothing else of fastmath ever may."""

    @property
    def name(self) -> str:
        """The function's."""
        return self.function.__name__

    @property
    def c_arguments(self) -> list[Any]:
        """The ctypes argument types; every kernel answers an int64."""
        return [ctypes.c_void_p if kind.endswith("*") else _C_TYPES[kind] for kind in self.arguments]


def kernel(function: Callable[..., int], *, contract: bool = False) -> Kernel:
    """The function as a kernel, its signature from its annotations."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return")
    return Kernel(function, tuple(hint.__metadata__[0] for hint in hints.values()), contract)
