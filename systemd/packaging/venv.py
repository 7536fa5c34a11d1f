"""The venv in /opt/edged: locked wheels for the distribution's own Python, less what a device never uses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = Path("/usr/bin/python3")
HOME = Path("/opt/edged")
NOT_SHIPPED = {"colorama", "setuptools"}
COMPILER = {"numba", "llvmlite"}
ENTRY = f"""#!{HOME}/bin/python -sP
import sys

from edged.cli.main import main

sys.exit(main())
"""


def fill(checkout: Path, stage: Path, *, with_compiler: bool) -> None:
    """Make stage/opt/edged, runnable once it lies at /opt/edged on a machine with the same Python minor."""
    home = stage / HOME.relative_to("/")
    _run(PYTHON, "-m", "venv", "--without-pip", home)
    left_out = NOT_SHIPPED if with_compiler else NOT_SHIPPED | COMPILER
    wanted = stage / "requirements.txt"
    wanted.write_text(without(left_out, (checkout / ".ci/requirements/run.lock").read_text()))
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    install = (*pip, "--python", home / "bin/python", "install", "--no-deps", "--no-compile")
    _say("installing the locked packages")
    _run(*install, "--require-hashes", "--only-binary", ":all:", "-r", wanted)
    _say("building this checkout's wheel, with kernels compiled for every CPU of this architecture")
    wheels = stage / "wheels"
    _run(
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        wheels,
        copied(checkout, stage / "src"),
    )
    _run(*install, *wheels.iterdir())
    shutil.rmtree(wheels)
    shutil.rmtree(stage / "src")
    wanted.unlink()
    _make_at_home(home)
    thin_out(home)
    _say("compiling to bytecode")
    compile_all = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
    _run(PYTHON, *compile_all, "-s", stage, "-p", "/", home / "lib")


def without(names: set[str], lock: str) -> str:
    """A lock file less some packages, their hashes included."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return "\n".join(entry for entry in entries if entry.partition("==")[0] not in names) + "\n"


def copied(checkout: Path, into: Path) -> Path:
    """What the wheel is made of, away from the checkout, whose old build/ would get into it."""
    into.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, into)
    for name in ("edged", "hardware", "models", "systemd"):
        shutil.copytree(checkout / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
    return into


def _make_at_home(home: Path) -> None:
    """Undo every trace of the folder the venv was made in."""
    for script in (home / "bin").iterdir():
        if not script.name.startswith("python"):
            script.unlink()
    (home / "bin/edged").write_text(ENTRY)
    (home / "bin/edged").chmod(0o755)
    config = home / "pyvenv.cfg"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("command")]
    config.write_text("\n".join(kept) + "\n")
    for record in home.glob("lib/python3*/site-packages/edged-*.dist-info/direct_url.json"):
        record.unlink()


def thin_out(home: Path) -> None:
    """Remove what only developers use: tests, stubs, headers, static libraries, an unused GPU back end."""
    packages = next(home.glob("lib/python3*/site-packages"))
    for folder in [*packages.rglob("tests"), *packages.rglob("include")]:
        if folder.is_dir():
            shutil.rmtree(folder)
    for pattern in ("*.pyi", "*.h", "*.a", "*.pxd", "libLiteRtWebGpu*"):
        for path in packages.rglob(pattern):
            path.unlink()
    shutil.rmtree(home / "include", ignore_errors=True)


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    environment = {**os.environ, "EDGED_KERNELS": "generic"}  # the wheel carries compiled kernels
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, cwd=cwd, env=environment)


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr)
