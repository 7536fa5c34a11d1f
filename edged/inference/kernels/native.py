"""Loading kernels that were compiled ahead of time: only what is whole, fresh, made for this CPU and trusted.

The file is read once, verified in memory, and loaded from a sealed private copy. What happens to the file
afterwards, even a truncation, cannot reach the process.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from edged.errors import DeviceError, EdgedError
from edged.files import read_capped, trusted
from edged.inference import memfd
from edged.inference.kernels import abi, sources
from edged.inference.kernels.compiled import CompiledKernels
from edged.inference.kernels.stamp import Stamp, check_fits, cpu_flags, file_name, unseal

_MAX_BYTES = 16 << 20


class Unusable(DeviceError):
    """A shared object that may not be loaded; the message says which and why."""


def load(directory: Path) -> tuple[CompiledKernels, Stamp]:
    """The native backend from the library in `directory`, and the library's stamp. Raises Unusable."""
    path = directory / file_name()
    if not path.exists():
        raise Unusable(f"{path} does not exist")
    # Who could change a path between this and the opening is root or us: every name on it belongs to them.
    if not trusted(path):
        raise Unusable(f"{path} is not trusted: it, or a directory above it, can be written by others")
    try:
        data = read_capped(path, _MAX_BYTES)
        stamp = unseal(data)
        check_fits(stamp, cpu_flags())
        return CompiledKernels("native", _functions(_map(data))), stamp
    except ValueError as exc:
        raise Unusable(f"{path} {exc}") from exc
    except (OSError, AttributeError) as exc:
        raise Unusable(f"{path} cannot be loaded: {exc}") from exc
    except EdgedError as exc:
        raise Unusable(f"{path} cannot be read: {exc.message}") from exc


def _map(data: bytes) -> ctypes.CDLL:
    """The bytes as a loaded library, from memory that nobody can change.

    The descriptor stays open: the loader knows a library by its path, and a number used again would name another.
    """
    copy = memfd.seal(data, _MAX_BYTES, "kernels")
    try:
        return ctypes.CDLL(f"/proc/self/fd/{copy.fd}", mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError:
        copy.close()
        raise


def _functions(library: ctypes.CDLL) -> dict[str, Any]:
    functions = {}
    for kernel in sources.KERNELS:
        function = library[abi.PREFIX + kernel.name]
        function.argtypes, function.restype = kernel.c_arguments, ctypes.c_int64
        functions[kernel.name] = function
    return functions
