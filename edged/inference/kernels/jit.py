"""The kernels compiled by numba in this process: for development, and to compare with."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from numba import cfunc

from edged.inference.kernels import lowering, sources
from edged.inference.kernels.compiled import CompiledKernels


@cache
def compile_all() -> dict[str, Any]:
    """Every kernel as a ctypes function: some seconds, once a process."""
    functions = {}
    for kernel in sources.KERNELS:
        compiled: Any = cfunc(lowering.signature(kernel), **lowering.flags(kernel))(kernel.function)
        function = ctypes.CFUNCTYPE(ctypes.c_int64, *kernel.c_arguments)(compiled.address)
        function.compiled = compiled  # type: ignore[attr-defined] # keeps the machine code alive
        functions[kernel.name] = function
    return functions


def load() -> CompiledKernels:
    """The jit backend."""
    return CompiledKernels("jit", compile_all())
