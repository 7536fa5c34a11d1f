"""The seam: which backend does the arithmetic here, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from edged.errors import DeviceError
from edged.inference.kernels import native
from edged.inference.kernels.backend import Anchored, Kernels, NotFinite
from edged.inference.kernels.frontend import MicroFrontend
from edged.inference.kernels.plain import PlainKernels
from edged.inference.kernels.plans import Target

__all__ = ["Anchored", "Chosen", "Kernels", "MicroFrontend", "NotFinite", "Preference", "Target", "choose"]

PACKAGED = Path(__file__).parents[2] / "_data" / "kernels"
"""Where a wheel or a distribution's package may bring a library for every CPU of its machine type."""

Preference = Literal["auto", "native", "jit", "numpy"]

_REMEDY = "`edged kernels build` compiles one for this CPU"


class Chosen(NamedTuple):
    """A backend, and in words why this one."""

    kernels: Kernels
    reason: str


def choose(preference: Preference, cache: Path) -> Chosen:
    """The backend to use: with auto the library in `cache`, else the packaged one, else numpy; never raises then.

    Raises DeviceError where the one asked for cannot be had; the message says why, and what helps.
    """
    if preference == "numpy":
        return Chosen(PlainKernels(), "numpy, as configured")
    if preference == "jit":
        return Chosen(_jit(), "compiled in this process by numba, as configured")
    refusals = []
    for directory in (cache, PACKAGED):
        try:
            kernels, stamp = native.load(directory)
        except native.Unusable as exc:
            refusals.append(exc.message)
        else:
            return Chosen(kernels, f"native, compiled ahead of time for {stamp.cpu}, from {directory}")
    why = f"{'; '.join(refusals)}. {_REMEDY}"
    if preference == "native":
        raise DeviceError(f"no compiled kernels: {why}")
    return Chosen(PlainKernels(), f"numpy, several times slower: {why}")


def _jit() -> Kernels:
    try:
        from edged.inference.kernels import jit  # noqa: PLC0415 # numba costs 100 MB; only who asks for it pays

        return jit.load()
    except ImportError as exc:
        raise DeviceError(f"numba is not installed ({exc}): pip install 'edged[numba]'") from exc
    except OSError as exc:
        raise DeviceError(f"numba may not make code executable here ({exc}): use native or numpy") from exc
