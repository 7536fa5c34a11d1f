from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHECKOUT / "dev", *arguments], capture_output=True, text=True, check=False)


def test_dev_is_posix_sh() -> None:
    assert (CHECKOUT / "dev").read_text().startswith("#!/bin/sh\n")
    subprocess.run(["dash", "-n", CHECKOUT / "dev"], check=True)


def test_help_names_every_command() -> None:
    shown = dev("help")
    assert shown.returncode == 0
    for command in ("demo", "test", "check", "bench", "chaos", "conformance", "deb", "wheel", "lock"):
        assert f"\n  {command} " in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tset",), "no such command: tset"),
        (("chaos",), "chaos needs the name of a schedule"),
        (("chaos", "gremlins"), "chaos needs the name of a schedule"),
    ],
)
def test_a_wrong_use_exits_2_and_says_why(arguments: tuple[str, ...], said: str) -> None:
    done = dev(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_python_that_is_too_old_or_absent_is_named(tmp_path: Path) -> None:
    """A fresh checkout, so that there is no .venv to use instead."""
    (tmp_path / "dev").write_bytes((CHECKOUT / "dev").read_bytes())
    (tmp_path / ".ci/requirements").mkdir(parents=True)
    (tmp_path / "systemd/packaging").mkdir(parents=True)
    for name in (".ci/requirements/dev.lock", "pyproject.toml", "systemd/packaging/wheel.py"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    done = subprocess.run(
        ["sh", "dev", "check"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "EDGED_PYTHON": "/nowhere/python3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "EDGED_PYTHON=/nowhere/python3 is not Python 3.11, 3.12 or 3.13" in done.stderr
