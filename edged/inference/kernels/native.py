"""Loading kernels that were compiled ahead of time: only what is whole, fresh, made for this CPU and trusted.

The file is read once through a descriptor whose owner and mode were checked, verified in memory, and loaded
from a sealed private copy. What happens to the file afterwards, even a truncation, cannot reach the process.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

from edged.errors import DeviceError
from edged.inference.kernels import abi, sources
from edged.inference.kernels.compiled import CompiledKernels
from edged.inference.kernels.stamp import Stamp, cpu_flags, file_name, unseal, why_stale

_MAX_BYTES = 16 << 20
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Unusable(DeviceError):
    """A shared object that may not be loaded; the message says which and why."""


def load(directory: Path) -> tuple[CompiledKernels, Stamp]:
    """The native backend from the library in `directory`, and the library's stamp. Raises Unusable."""
    path = directory / file_name()
    try:
        data = _read_trusted(path)
        stamp = unseal(data)
        stale = why_stale(stamp, cpu_flags())
        if stale:
            raise Unusable(f"{path} {stale}")
        return CompiledKernels("native", _functions(_map(data))), stamp
    except FileNotFoundError:
        raise Unusable(f"{path} does not exist") from None
    except (OSError, ValueError, AttributeError) as exc:
        raise Unusable(
            f"{path} {exc if isinstance(exc, ValueError) else f'cannot be loaded: {exc}'}"
        ) from exc


def _read_trusted(path: Path) -> bytes:
    """The file's bytes, if nobody but root and this user could have written them."""
    directory = path.parent.resolve(strict=True)
    for place in (directory, *directory.parents):
        found = place.stat()
        sticky = place != directory and found.st_mode & stat.S_ISVTX
        _check(found, f"lies in {place}, which", others_may_write=bool(sticky))
    with open(directory / path.name, "rb", opener=_no_links) as file:  # noqa: PTH123 # Path.open takes no opener
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no regular file")
        if found.st_size > _MAX_BYTES:
            raise ValueError(f"is larger than {_MAX_BYTES} bytes")
        _check(found, "", others_may_write=False)
        return file.read(_MAX_BYTES)


def _check(found: os.stat_result, what: str, *, others_may_write: bool) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise ValueError(f"{what} belongs to user {found.st_uid}".strip())
    if found.st_mode & _OTHERS and not others_may_write:
        raise ValueError(f"{what} can be written by others (mode {stat.S_IMODE(found.st_mode):o})".strip())


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def _map(data: bytes) -> ctypes.CDLL:
    """The bytes as a loaded library, from memory that nobody can change.

    The descriptor stays open: the loader knows a library by its path, and a number used again would name another.
    """
    copy = os.memfd_create("edged-kernels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(copy, "wb", closefd=False) as file:  # noqa: PTH123 # a descriptor
            file.write(data)
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
        return ctypes.CDLL(f"/proc/self/fd/{copy}", mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError:
        os.close(copy)
        raise


def _functions(library: ctypes.CDLL) -> dict[str, Any]:
    functions = {}
    for kernel in sources.KERNELS:
        function = library[abi.PREFIX + kernel.name]
        function.argtypes, function.restype = kernel.c_arguments, ctypes.c_int64
        functions[kernel.name] = function
    return functions
