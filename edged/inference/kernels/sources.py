"""Every kernel, and every function that kernels call: what a compiled backend is made of."""

from __future__ import annotations

from edged.inference.kernels import audio, boxes, image, tensor

_MODULES = (image, tensor, boxes, audio)

KERNELS = tuple(kernel for module in _MODULES for kernel in module.KERNELS)
HELPERS = tuple(helper for module in _MODULES for helper in module.HELPERS)
