from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edged.inference import manifest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "models"
NAMES = sorted(path.parent.name for path in MODELS.glob("*/manifest.toml"))
OWN = ["digits", "shuttle_radiator"]


def load(name: str) -> manifest.Manifest:
    return manifest.load((MODELS / name / "manifest.toml").read_text())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_models_are_these() -> None:
    assert NAMES == ["alexa", "digits", "face", "imagenet", "okay_nabu", "shuttle_radiator"]


@pytest.mark.parametrize("name", NAMES)
def test_every_manifest_is_valid_and_named_as_its_directory(name: str) -> None:
    loaded = load(name)
    assert loaded.name == name
    assert loaded.licence
    assert loaded.source


@pytest.mark.parametrize("name", NAMES)
def test_every_committed_file_is_the_one_its_manifest_pins(name: str) -> None:
    pinned = [pin for variant in load(name).variants for pin in (variant, variant.golden) if pin]
    committed = [pin for pin in pinned if (MODELS / name / pin.file).exists()]
    assert committed == pinned or name not in OWN
    assert [sha256(MODELS / name / pin.file) for pin in committed] == [pin.sha256 for pin in committed]


@pytest.mark.parametrize("name", sorted({*NAMES} - {*OWN}))
def test_third_party_weights_are_not_committed(name: str) -> None:
    assert not list((MODELS / name).glob("*.tflite"))


def test_imagenet_has_a_thousand_different_labels() -> None:
    labels = (MODELS / "imagenet" / "labels.txt").read_text().splitlines()
    assert len(set(labels)) == len(labels) == 1000
    assert (labels[285], labels[967], labels[657]) == ("Egyptian cat", "espresso", "missile")


def test_every_fetched_file_is_pinned_by_its_manifest_or_its_source() -> None:
    for package in tomllib.loads((MODELS / "sources.toml").read_text())["package"]:
        assert len(package["wheel_sha256"]) == 64
        for entry in package["files"]:
            named = {variant.file for variant in load(entry["model"]).variants}
            assert entry["file"] in named or len(entry["sha256"]) == 64


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_holds_numbers_only(name: str) -> None:
    for path in (MODELS / name).glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert sorted(arrays) == (["in0", "out0", "out1"] if name == "face" else ["in0", "out0"])
            assert all(np.isfinite(arrays[key].astype(np.float64)).all() for key in arrays)


def test_the_example_in_the_documentation_is_a_valid_manifest() -> None:
    examples = re.findall(
        r"```toml\n(schema = 1\n.*?)```", (ROOT / "docs" / "models.md").read_text(), re.DOTALL
    )
    assert examples
    for example in examples:
        assert manifest.check(example) == []


@pytest.mark.parametrize("name", ["digits\\n", "Digits", ""])
def test_a_name_with_anything_after_it_is_no_name(name: str) -> None:
    text = (MODELS / "digits" / "manifest.toml").read_text().replace('name = "digits"', f'name = "{name}"', 1)
    assert [problem.path for problem in manifest.check(text)] == ["name"]
