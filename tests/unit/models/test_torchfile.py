from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.build.torchfile import read_state


class Named:
    """Pickles as a call of module.name, which need not exist here."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments = name, arguments


class Storage:
    """Pickles as PyTorch's persistent id of a storage."""

    def __init__(self, key: str) -> None:
        self.key = key


def dumps(value: Any) -> bytes:
    """Protocol 0 by hand: enough for what a checkpoint holds."""
    match value:
        case Named():
            module, name = value.name.rsplit(".", 1)
            text = f"c{module}\n{name}\n".encode() + dumps(value.arguments) + b"R"
        case Storage():
            parts = [dumps("storage"), b"ctorch\nFloatStorage\n", dumps(value.key), dumps("cpu"), dumps(0)]
            text = b"(" + b"".join(parts) + b"tQ"
        case tuple():
            text = b"(" + b"".join(map(dumps, value)) + b"t"
        case list():
            text = b"(l" + b"".join(dumps(item) + b"a" for item in value)
        case dict():
            text = b"(d" + b"".join(dumps(key) + dumps(item) + b"s" for key, item in value.items())
        case bool():
            text = b"I01\n" if value else b"I00\n"
        case int():
            text = b"I%d\n" % value
        case _:
            text = b"V" + str(value).encode() + b"\n"
    return text


def tensor(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Named:
    return Named("torch._utils._rebuild_tensor_v2", (Storage("k"), offset, size, stride, False))


def checkpoint(path: Path, state: Any, values: list[float]) -> Path:
    data = np.array(values, np.float32)
    pickles = [dumps(1), dumps(1001), dumps({}), dumps(state), dumps(["k"])]
    storage = len(data).to_bytes(8, "little") + data.tobytes()
    path.write_bytes(b"".join(p + b"." for p in pickles) + storage)
    return path


def test_tensors_come_back_with_their_names_shapes_and_strides(tmp_path: Path) -> None:
    state = {"w": tensor(1, (2, 3), (3, 1)), "t": tensor(0, (3, 2), (1, 3))}
    read = read_state(checkpoint(tmp_path / "c.pth", state, [0, 1, 2, 3, 4, 5, 6]))
    assert read["w"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_checkpoint_that_names_a_function_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    state = {"w": Named("os.mkdir", (str(proof),))}
    with pytest.raises(pickle.UnpicklingError, match=r"does not name os\.mkdir"):
        read_state(checkpoint(tmp_path / "c.pth", state, [0.0]))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (8,), (1,)), (4, (4,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,)), (0, (2,), (7,))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    path = checkpoint(tmp_path / "c.pth", {"w": tensor(offset, size, stride)}, [0.0] * 7)
    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        read_state(path)


def test_a_checkpoint_that_ends_inside_a_tensor_is_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "c.pth", {"w": tensor(0, (3,), (1,))}, [0, 1, 2])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(pickle.UnpicklingError, match="ends inside a tensor"):
        read_state(path)


def test_the_hand_made_pickles_are_real_pickles() -> None:
    assert pickle.load(io.BytesIO(dumps({"a": [1, (True, "b")]}) + b".")) == {"a": [1, (True, "b")]}  # noqa: S301 - our own bytes
