"""What the daemon does to stay small on a board with half a gigabyte."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys

_M_ARENA_MAX = -8  # malloc.h
_OPENSSL = ("ssl", "_hashlib")


def without_openssl() -> None:
    """Keep asyncio and hashlib from loading OpenSSL, 4.7 MiB that nothing here speaks; call it before either.

    Both do without: asyncio without TLS, hashlib with Python's own SHA-2 where this Python has it.
    """
    own = ("_sha2", "_sha256")
    for name in _OPENSSL if any(map(importlib.util.find_spec, own)) else ("ssl",):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # None is how an import is refused


def with_openssl() -> None:
    """Let what is imported from here on load OpenSSL: there is a broker to speak TLS with, or a key to use."""
    for name in _OPENSSL:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def one_blas_thread() -> None:
    """Keep NumPy's OpenBLAS from starting a thread a core: nothing here multiplies matrices. Before NumPy's import."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def one_arena() -> None:
    """Let every thread allocate from one pool: each of its own would keep what it freed (glibc; nothing elsewhere)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """Collect what the start left behind; what lives now lives on, and collections need not walk it again."""
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Give freed memory back to the system: 172 -> 40 MB after eight models (glibc; nothing elsewhere)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
