"""Compiling the kernels ahead of time, and what of the result a process is willing to load."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edged.errors import DeviceError
from edged.inference.kernels import build, native, seam, sources
from edged.inference.kernels.plain import PlainKernels
from edged.inference.kernels.seam import Kernels, choose
from edged.inference.kernels.stamp import file_name, seal, unseal
from edged.inference.values import Layout
from tests.rig.kernels import library, random_picture, target, tensor

pytestmark = pytest.mark.timeout(600)  # compiling takes a minute on a Raspberry Pi

ROOT = Path(__file__).parents[2]
NOBODY = 65534

IN_A_CHILD = """
import ctypes, sys
from pathlib import Path
locked = "locked" in sys.argv
# PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN (prctl(2)): what MemoryDenyWriteExecute=yes asks for
if locked and ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):
    sys.exit(f"PR_SET_MDWE: errno {ctypes.get_errno()}")
import numpy as np
from edged.inference.kernels.seam import Target, choose
from edged.inference.values import Layout, Picture
chosen = choose("auto", Path(sys.argv[1]))
out = np.zeros((2, 2, 3), np.float32)
to = Target(2, 2, "rgb", "stretch", 0.0, (0.0,), (1.0,), np.dtype(np.float32), 1.0, 0)
chosen.kernels.fit(Picture(Layout.RGB, 4, 4, np.full((4, 4, 3), 200, np.uint8)), to, out)
assert (out == 200).all()
print(chosen.kernels.name)
print(*sorted(name for name in sys.modules if name.split(".")[0] in {"numba", "llvmlite"}))
if locked:
    try:
        choose("jit", Path(sys.argv[1]))
    except Exception as exc:
        print(type(exc).__name__)
"""


def in_a_child(*arguments: str) -> list[str]:
    command = [sys.executable, "-c", IN_A_CHILD, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def compiling(
    cache: Path, *options: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged.inference.kernels.build", "--cache", str(cache), *options]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | (environment or {})
    )


def assert_right(kernels: Kernels) -> None:
    """Every layout into every kind of tensor as numpy does it."""
    for layout in Layout:
        for dtype in ("float32", "int8", "uint8"):
            to, picture = target(19, 23, dtype=dtype, fit="letterbox"), random_picture(layout, 46, 62)
            out, expected = tensor(to), tensor(to)
            kernels.fit(picture, to, out)
            PlainKernels().fit(picture, to, expected)
            allowed = 1e-5 if dtype == "float32" else 1
            assert np.abs(out.astype(np.float64) - expected).max() <= allowed


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return library(base if worker_id == "master" else base.parent)


@pytest.fixture
def cache(compiled: Path, tmp_path: Path) -> Path:
    """A copy of the compiled library, for one test to spoil."""
    return Path(shutil.copytree(compiled, tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _nothing_packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(seam, "PACKAGED", tmp_path / "packaged")


def test_auto_takes_the_compiled_kernels_and_says_for_which_cpu(compiled: Path) -> None:
    chosen = choose("auto", compiled)
    stamp = unseal((compiled / file_name()).read_bytes())
    assert chosen.kernels.name == "native"
    assert f"compiled ahead of time for {stamp.cpu}" in chosen.reason
    assert str(compiled) in chosen.reason


def test_a_process_that_runs_compiled_kernels_has_no_compiler_in_it(compiled: Path) -> None:
    assert in_a_child(str(compiled)) == ["native", ""]


def test_compiled_kernels_work_where_memory_may_not_become_executable(compiled: Path) -> None:
    assert in_a_child(str(compiled), "locked") == ["native", "", "DeviceError"]


def test_what_is_fresh_is_not_compiled_again(cache: Path) -> None:
    before = (cache / file_name()).stat()
    assert build.build(cache) == cache / file_name()
    after = (cache / file_name()).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_library_names_no_path_of_the_machine_that_built_it(compiled: Path) -> None:
    assert str(ROOT).encode() not in (compiled / file_name()).read_bytes()


def test_kernels_for_any_cpu_of_this_type_give_the_same_results(tmp_path: Path) -> None:
    path = build.build(tmp_path / "generic", cpu="generic")
    stamp = unseal(path.read_bytes())
    assert (stamp.cpu, stamp.features, stamp.needs) == ("generic", "", [])
    assert_right(choose("native", path.parent).kernels)


def test_packaged_kernels_serve_where_the_cache_has_none(cache: Path, tmp_path: Path) -> None:
    cache.rename(tmp_path / "packaged")
    assert choose("auto", cache).kernels.name == "native"


def test_where_nothing_was_compiled_numpy_serves_and_says_so(tmp_path: Path) -> None:
    chosen = choose("auto", tmp_path)
    assert chosen.kernels.name == "numpy"
    assert f"{tmp_path / file_name()} does not exist" in chosen.reason
    assert "edged kernels build" in chosen.reason
    assert_right(chosen.kernels)


def test_native_kernels_that_are_asked_for_and_missing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="edged kernels build"):
        choose("native", tmp_path)


def refused(cache: Path) -> str:
    """Why the library in `cache` is not loaded, after making sure that something still serves."""
    chosen = choose("auto", cache)
    assert chosen.kernels.name == "numpy"
    return chosen.reason


@pytest.mark.parametrize("at", [0, 5000, -1, -20, -60, -400])
def test_a_damaged_library_is_refused(cache: Path, at: int) -> None:
    data = bytearray((cache / file_name()).read_bytes())
    data[at] ^= 1
    (cache / file_name()).write_bytes(data)
    assert "damaged" in refused(cache) or "truncated" in refused(cache)


@pytest.mark.parametrize("keep", [0, 1, 40, 4096, -1])
def test_a_truncated_library_is_refused(cache: Path, keep: int) -> None:
    data = (cache / file_name()).read_bytes()
    (cache / file_name()).write_bytes(data[:keep])
    assert "truncated" in refused(cache)


def restamped(cache: Path, library: bytes | None = None, **change: object) -> None:
    """Seal the library in `cache` again with another stamp, or other contents with the same."""
    path = cache / file_name()
    stamp = unseal(path.read_bytes())
    path.write_bytes(seal(library or path.read_bytes(), msgspec.structs.replace(stamp, **change)))


def test_a_library_from_other_sources_is_refused_and_compiled_again_kernel_by_kernel(cache: Path) -> None:
    restamped(cache, source="0" * 64)
    assert "other sources" in refused(cache)
    done = compiling(cache, "--json")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stderr.splitlines()] == [k.name for k in sources.KERNELS]
    answer = json.loads(done.stdout)
    assert answer["path"] == str(cache / file_name())
    assert not answer["fresh"]
    assert_right(choose("native", cache).kernels)


def test_a_library_for_another_cpu_is_refused_before_it_is_called(cache: Path) -> None:
    restamped(cache, cpu="pdp11", needs=["teleport"])
    assert "another CPU (pdp11): this one lacks teleport" in refused(cache)


def test_a_library_for_another_machine_is_refused(cache: Path) -> None:
    restamped(cache, machine="vax")
    assert f"compiled for vax, this is {platform.machine()}" in refused(cache)


def test_a_library_of_an_older_compiler_serves_until_it_is_built_again(cache: Path) -> None:
    current = unseal((cache / file_name()).read_bytes())
    assert build.is_fresh(cache, current)
    restamped(cache, numba="0.1")
    assert choose("auto", cache).kernels.name == "native"
    assert not build.is_fresh(cache, current)


def test_a_whole_file_that_is_no_library_is_refused(cache: Path) -> None:
    restamped(cache, b"#!/bin/sh\n" * 100)
    assert "cannot be loaded" in refused(cache)


@pytest.mark.parametrize("mode", [0o666, 0o646], ids=oct)
def test_a_library_that_others_can_write_is_refused(cache: Path, mode: int) -> None:
    (cache / file_name()).chmod(mode)
    assert "can be written by others" in refused(cache)


def test_a_library_in_a_directory_that_others_can_write_is_refused(cache: Path) -> None:
    cache.chmod(0o777)
    assert "can be written by others" in refused(cache)


def test_a_library_under_a_directory_that_others_can_write_is_refused(cache: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "can be written by others" in refused(cache)


def test_somebody_elses_library_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(cache / file_name(), NOBODY, NOBODY)
    else:
        monkeypatch.setattr("os.geteuid", lambda: NOBODY)
    assert "can be written by others" in refused(cache)


def test_a_fifo_in_the_librarys_place_is_refused_at_once(cache: Path) -> None:
    (cache / file_name()).unlink()
    os.mkfifo(cache / file_name())
    assert "not a regular file" in refused(cache)


def test_nothing_done_to_the_file_later_reaches_a_process_that_loaded_it(cache: Path) -> None:
    kernels, _ = native.load(cache)
    with (cache / file_name()).open("r+b") as file:
        file.write(bytes(8192))
        file.truncate(0)
    assert_right(kernels)


def test_two_libraries_loaded_one_after_the_other_are_two(cache: Path) -> None:
    first, _ = native.load(cache)
    restamped(cache, numba="0.1")
    second, stamp = native.load(cache)
    assert stamp.numba == "0.1"
    assert_right(first)
    assert_right(second)


def test_without_a_linker_the_build_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt install binutils"):
        build.build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_numba_the_build_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('no numba here')")
    cache = tmp_path / "cache"
    done = compiling(cache, "--json", environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.returncode == 1
    assert "pip install 'edged[numba]'" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr
    assert not cache.exists()


def test_a_linker_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    broken = tmp_path / "ld"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(DeviceError, match="ld could not link the kernels: out of order"):
        build.link(str(broken), b"", tmp_path)


@pytest.mark.parametrize("name", ["ld", "gcc"])
def test_a_bare_linker_does_as_well_as_a_compiler(name: str, compiled: Path, tmp_path: Path) -> None:
    linker = shutil.which(name)
    assert linker, f"this test needs {name}"
    stamp = unseal((compiled / file_name()).read_bytes())
    emitted = build.emit(iter([("edged_nothing", "define void @edged_nothing() {\n ret void\n}")]), stamp)
    linked = tmp_path / "linked.so"
    linked.write_bytes(build.link(linker, emitted, tmp_path))
    assert ctypes.CDLL(str(linked)).edged_nothing


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot write to"):
        build.build(tmp_path / "file" / "cache")


def test_a_cache_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    open_to_all = tmp_path / "cache"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(DeviceError, match="can be written by others"):
        build.build(open_to_all)
