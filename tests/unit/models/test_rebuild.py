from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.inference import manifest
from models.build import digits, shuttle_radiator

MODELS = Path(__file__).parents[3] / "models"


@pytest.mark.parametrize(
    ("name", "rebuild"), [("digits", digits.rebuild), ("shuttle_radiator", shuttle_radiator.rebuild)]
)
def test_our_models_come_out_bit_for_bit_from_committed_weights_and_ranges(
    name: str, rebuild: Callable[[], dict[str, bytes]]
) -> None:
    pinned = manifest.load((MODELS / name / "manifest.toml").read_text()).variants
    rebuilt = {file: hashlib.sha256(model).hexdigest() for file, model in rebuild().items()}
    assert rebuilt == {variant.file: variant.sha256 for variant in pinned}


@pytest.mark.parametrize("rebuild", [digits.rebuild, shuttle_radiator.rebuild])
def test_our_models_are_small(rebuild: Callable[[], dict[str, bytes]]) -> None:
    assert all(len(model) < 100_000 for model in rebuild().values())
