"""Measure what int8 needs to know: the range of every activation of a float network, over real inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


def measure(model: bytes, inputs: Iterable[NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each activation (a1, a2 … of `network.build`) over the inputs."""
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    watched = [entry for entry in interpreter.get_tensor_details() if _is_activation(entry)]
    ranges: dict[str, tuple[float, float]] = {}
    for tensor in inputs:
        interpreter.set_tensor(source, tensor)
        interpreter.invoke()
        for entry in watched:
            values = interpreter.get_tensor(entry["index"])
            low, high = ranges.get(entry["name"], (0.0, 0.0))
            ranges[entry["name"]] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


def _is_activation(entry: dict[str, Any]) -> bool:
    return str(entry["name"]).startswith("a") and str(entry["name"])[1:].isdigit()


def write_ranges(path: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Keep measured ranges as JSON, one activation a line; reading them back gives the very same numbers."""
    lines = (f"  {json.dumps(name)}: [{low!r}, {high!r}]" for name, (low, high) in ranges.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_ranges(path: Path) -> dict[str, tuple[float, float]]:
    """What `write_ranges` kept."""
    return {name: (low, high) for name, (low, high) in json.loads(path.read_text(encoding="utf-8")).items()}
