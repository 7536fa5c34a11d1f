from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edged import data

CHECKOUT = Path(__file__).parents[2]


def test_a_checkout_finds_its_own_folders() -> None:
    assert data.folder("systemd") == CHECKOUT / "systemd"


def test_an_installed_package_finds_the_folders_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edged/_data/systemd").mkdir(parents=True)
    monkeypatch.setattr(data, "_PACKAGE", tmp_path / "edged")
    assert data.folder("systemd") == tmp_path / "edged/_data/systemd"
    with pytest.raises(FileNotFoundError, match="without its models folder"):
        data.folder("models")


def test_the_wheel_carries_units_and_manifests_and_no_script(tmp_path: Path) -> None:
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    checkout = tmp_path / "checkout"
    files = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        if name.startswith(("edged/", "hardware/", "models/", "systemd/")) or "/" not in name:
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).symlink_to(CHECKOUT / name)
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=checkout, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.partition("edged/_data/")[2] for name in zipfile.ZipFile(wheel).namelist()} - {""}
    assert {
        "systemd/edged.service",
        "systemd/edged.socket",
        "systemd/edged-http.socket",
        "systemd/edged.toml",
    } <= names
    assert not [name for name in names if name.endswith(".py")]
