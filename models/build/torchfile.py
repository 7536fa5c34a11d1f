"""Read the tensors of a PyTorch checkpoint (format before 1.6) without PyTorch, and run nothing it names."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

STORAGE_TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}
PREAMBLE = 3
"""Pickles before the state: magic number, protocol version, system information."""


class _Tensor(NamedTuple):
    storage: tuple[Any, ...]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Knows three names and refuses every other, so that a checkpoint can carry nothing but tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        if module == "torch" and name in STORAGE_TYPES:
            return name
        raise pickle.UnpicklingError(f"a checkpoint of tensors does not name {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the checkpoint by name. Raises pickle.UnpicklingError where it holds anything else."""
    with path.open("rb") as file:
        for _ in range(PREAMBLE):
            _Unpickler(file).load()
        state: dict[str, _Tensor] = _Unpickler(file).load()
        keys: list[str] = _Unpickler(file).load()
        types = {tensor.storage[2]: STORAGE_TYPES[tensor.storage[1]] for tensor in state.values()}
        storages = {key: _read_storage(file, np.dtype(types[key])) for key in keys}
    return {name: _view(storages[tensor.storage[2]], tensor) for name, tensor in state.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise pickle.UnpicklingError("the checkpoint ends inside a tensor")
    return np.frombuffer(data, dtype)


def _view(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    steps = [(size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True)]
    if min((tensor.offset, *steps)) < 0 or tensor.offset + sum(steps) >= storage.size:
        raise pickle.UnpicklingError("a tensor lies outside its storage")
    strides = [stride * storage.itemsize for stride in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.size, strides).copy()
