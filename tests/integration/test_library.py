"""The library on a real disk with real pre-flights; EDGED_TEST_RUNTIME names the runtime."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edged.errors import (
    BadArgument,
    BadManifest,
    BadModel,
    NotFound,
    Rejected,
    StorageError,
    TooLarge,
    WrongHash,
)
from edged.inference import memfd
from edged.inference.models.library import Caps, Library, Slot, State
from edged.inference.trial.preflight import Preflight
from tests.rig.hostile import convolution, dense
from tests.rig.manifests import TENSORS, manifest_text
from tests.rig.wanted import RUNTIME

CLASSES = f'input = {{kind = "vector", names = {list("abcdefgh")}, mean = {[0] * 8}, std = {[1] * 8}}}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def library(root: Path) -> Library:
    return opened(root)


def opened(root: Path, caps: Caps | None = None) -> Library:
    return Library(root, Preflight(RUNTIME), caps)


def add(library: Library, version: str = "1", name: str = "thing", content: bytes | None = None) -> Slot:
    content = content or dense()
    text = manifest_text(TENSORS, {"only": content}, name=name, version=version)
    return library.add(text, {"only.tflite": content})


def states(library: Library) -> dict[str, State]:
    return {slot.version: slot.state for slot in library.entries()}


def everything(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def test_an_admitted_version_is_ready_with_its_report_and_survives_a_restart(
    library: Library, root: Path
) -> None:
    slot = add(library)
    assert (slot.state, slot.reports["only"].inputs[0].name) == (State.READY, "x")
    assert opened(root).entries() == [slot]
    assert opened(root).manifest("thing", "1").title == "A test"


@pytest.mark.parametrize("kind", ["bytes", "path", "descriptor"])
def test_files_come_as_bytes_paths_or_descriptors(library: Library, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(dense())
    with path.open("rb") as file:
        source: Any = {"bytes": dense(), "path": path, "descriptor": file.fileno()}[kind]
        library.add(manifest_text(TENSORS, {"only": dense()}), {"only.tflite": source})
    fd = library.open_variant("thing", "1", "only")
    assert os.pread(fd, 1 << 20, 0) == dense()
    os.close(fd)


def test_what_is_opened_is_sealed(library: Library) -> None:
    add(library)
    fd = library.open_variant("thing", "1", "only")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_progress_is_told_per_file(library: Library) -> None:
    steps: list[tuple[str, int]] = []
    library.add(
        manifest_text(TENSORS, {"only": dense()}),
        {"only.tflite": dense()},
        progress=lambda *step: steps.append(step),
    )
    assert steps == [("only.tflite", len(dense())), ("pre-flight of only.tflite", 0)]


def test_labels_come_from_the_manifest_or_from_a_file_that_is_counted(library: Library) -> None:
    variants = {"only": dense()}
    listed = manifest_text(
        CLASSES + 'output = {kind = "classification", labels = ["a", "b", "c", "d"]}', variants
    )
    library.add(listed, {"only.tflite": dense()})
    filed = manifest_text(
        CLASSES + 'output = {kind = "classification", labels = "l.txt"}', variants, version="2"
    )
    with pytest.raises(BadModel, match=r"3 labels need"):
        library.add(filed, {"only.tflite": dense(), "l.txt": b"a\nb\nc"})
    library.add(filed, {"only.tflite": dense(), "l.txt": "ä\nb\nc\nd\n".encode()})
    assert library.labels("thing", "1") == ["a", "b", "c", "d"]
    assert library.labels("thing", "2") == ["ä", "b", "c", "d"]


# --- what is refused leaves nothing behind

Refusal = tuple[type[Exception], str, str, Mapping[str, Any]]
GOOD = manifest_text(TENSORS, {"only": dense()})
REFUSALS: dict[str, Refusal] = {
    "a wrong hash": (WrongHash, "only.tflite has SHA-256", GOOD, {"only.tflite": convolution()}),
    "a manifest that is wrong": (BadManifest, "unknown key", "colour = 1\n" + GOOD, {"only.tflite": dense()}),
    "a missing file": (BadArgument, r"\$.files: only.tflite missing", GOOD, {}),
    "a file too many": (BadArgument, r"\$.files: more not named", GOOD, {"only.tflite": dense(), "more": b""}),
    "a bad model": (BadModel, "not a TFL3 file", manifest_text(TENSORS, {"only": b"xx"}), {"only.tflite": b"xx"}),
    "a bad second variant": (
        BadModel, "second.tflite: not a TFL3 file",
        manifest_text(TENSORS, {"only": dense(), "second": b"xx"}), {"only.tflite": dense(), "second.tflite": b"xx"},
    ),
    "a file that is not there": (NotFound, "no such file", GOOD, {"only.tflite": Path("/nowhere/x")}),
    "a device in place of a file": (Rejected, "not a regular file", GOOD, {"only.tflite": Path("/dev/zero")}),
    "the manifest's own name": (
        BadManifest, "the manifest's own name",
        GOOD.replace("only.tflite", "manifest.toml"), {"manifest.toml": dense()},
    ),
    "a name that climbs": (BadManifest, "file", GOOD.replace("only.t", "../only.t"), {"../only.tflite": dense()}),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_leaves_nothing_behind(library: Library, root: Path, case: str) -> None:
    kind, message, text, files = REFUSALS[case]
    before = everything(root)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(kind, match=message):
        library.add(text, files)
    assert everything(root) == before
    assert library.entries() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_the_same_version_twice_is_admitted_once_and_a_different_one_is_rejected(library: Library) -> None:
    first = add(library)
    assert add(library) == first
    with pytest.raises(Rejected, match=r"thing 1 exists and is different"):
        add(library, content=convolution())


def test_two_adds_of_one_version_at_once_are_one(library: Library) -> None:
    with ThreadPoolExecutor(4) as pool:
        slots = list(pool.map(lambda _: add(library), range(4)))
    assert len(set(map(repr, slots))) == 1
    assert len(library.entries()) == 1


@pytest.mark.parametrize(
    ("caps", "kind", "message"),
    [
        (Caps(file_bytes=100), TooLarge, "only.tflite is larger than the cap of 100 bytes"),
        (Caps(total_bytes=2500), TooLarge, "all models together"),
        (Caps(versions=1), TooLarge, "1 versions, the cap"),
        (Caps(reserve_bytes=1 << 60), StorageError, "the disk has no room"),
    ],
)
def test_a_cap_is_named_and_keeps_what_is_there(root: Path, caps: Caps, kind: Any, message: str) -> None:
    add(opened(root))
    library = opened(root, caps)
    with pytest.raises(kind, match=message):
        add(library, "2")
    assert states(library) == {"1": State.READY}


def test_a_model_too_many_is_refused(root: Path) -> None:
    library = opened(root, Caps(models=1))
    add(library)
    with pytest.raises(TooLarge, match=r"there are 1 models"):
        add(library, name="other")


def test_a_disk_that_fills_up_while_writing_keeps_the_old(
    library: Library, root: Path, monkeypatch: Any
) -> None:
    add(library)
    library.activate("thing", "1")
    before = everything(root)

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot store only.tflite: No space left on device"):
        add(library, "2")
    with pytest.raises(StorageError, match=r"No space left"):
        library.quarantine("thing", "1", "because")
    monkeypatch.undo()
    assert everything(root) == before
    assert [s.version for s in opened(root).active()] == ["1"]


# --- which version serves


def test_activation_rollback_and_its_undoing(library: Library, root: Path) -> None:
    for version in ("1", "2"):
        add(library, version)
        library.activate("thing", version)
    assert states(opened(root)) == {"1": State.READY, "2": State.ACTIVE}
    assert [s.version for s in library.entries() if s.previous] == ["1"]
    assert library.rollback("thing").version == "1"
    assert library.rollback("thing").version == "2"
    assert library.activate("thing", "2").state is State.ACTIVE
    assert library.rollback("thing").version == "1"


def test_without_a_previous_version_there_is_no_rollback(library: Library) -> None:
    add(library)
    library.activate("thing", "1")
    with pytest.raises(Rejected, match=r"no previous version"):
        library.rollback("thing")


def test_a_quarantined_version_hands_over_to_the_previous_and_cannot_return(
    library: Library, root: Path
) -> None:
    for version in ("1", "2"):
        add(library, version)
        library.activate("thing", version)
    serving = library.quarantine("thing", "2", "it answered NaN")
    assert serving
    assert serving.version == "1"
    assert states(opened(root)) == {"1": State.ACTIVE, "2": State.QUARANTINED}
    with pytest.raises(Rejected, match=r"thing 2 is quarantined: it answered NaN"):
        library.activate("thing", "2")
    with pytest.raises(Rejected, match=r"no previous version"):
        library.rollback("thing")


def test_quarantining_the_only_version_leaves_none_serving(library: Library) -> None:
    add(library)
    library.activate("thing", "1")
    assert library.quarantine("thing", "1", "x") is None
    assert library.active() == []


def test_the_active_version_is_not_removed_but_a_model_is_with_all_of_its_versions(
    library: Library, root: Path
) -> None:
    for version in ("1", "2"):
        add(library, version)
        library.activate("thing", version)
    with pytest.raises(Rejected, match=r"thing 2 is active"):
        library.remove("thing", "2")
    library.remove("thing", "1")
    assert states(library) == {"2": State.ACTIVE}
    library.remove("thing")
    assert library.entries() == []
    assert everything(root) == [".staging"]


@pytest.mark.parametrize("name", ["thing", "../models", ".staging", ""])
def test_what_is_not_there_is_not_found(library: Library, name: str) -> None:
    add(library, name="other")
    operations: list[Callable[[], object]] = [
        lambda: library.activate(name, "1"),
        lambda: library.rollback(name),
        lambda: library.remove(name),
        lambda: library.manifest(name, "1"),
        lambda: library.open_variant(name, "1", "only"),
        lambda: library.quarantine(name, "1", "x"),
        lambda: library.begin_load(name, "1", "only"),
    ]
    for operation in operations:
        with pytest.raises(NotFound):
            operation()
    with pytest.raises(NotFound, match=r"it has only"):
        library.open_variant("other", "1", "int8")


# --- what a disk, a crash or a kill does


def test_a_file_changed_on_disk_is_noticed_before_it_is_used(library: Library, root: Path) -> None:
    add(library)
    path = root / "thing" / "1" / "only.tflite"
    path.write_bytes(dense()[:-1] + b"x")
    with pytest.raises(StorageError, match=r"damaged"):
        library.open_variant("thing", "1", "only")
    (root / "thing" / "1" / "manifest.toml").write_text(GOOD.replace("A test", "A lie"))
    with pytest.raises(StorageError, match=r"damaged"):
        opened(root).manifest("thing", "1")


def test_a_damaged_record_or_pointer_is_a_state_and_not_a_crash(library: Library, root: Path) -> None:
    add(library)
    library.activate("thing", "1")
    (root / "thing" / ".pointers.json").write_bytes(b"{")
    assert states(opened(root)) == {"1": State.READY}
    (root / "thing" / "1" / ".record.json").write_bytes(b"\0" * 9)
    (slot,) = opened(root).entries()
    assert (slot.state, slot.reason) == (
        State.QUARANTINED,
        "its record is damaged; remove it and add it again",
    )


CRASHER = """
import os, signal, sys
from pathlib import Path
from edged.inference.models.library import Library
from edged.inference.trial.preflight import Preflight
library = Library(Path(sys.argv[1]), Preflight("litert"))
library.watch()
library.begin_load("thing", "2", "only")
os.kill(os.getpid(), int(sys.argv[2]))
"""


def crash(root: Path, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHER, str(root), str(number)], capture_output=True, check=False
    )
    assert done.returncode == -number


def test_a_version_whose_load_crashed_the_process_is_quarantined_and_the_previous_serves(
    library: Library, root: Path
) -> None:
    for version in ("1", "2"):
        add(library, version)
        library.activate("thing", version)
    crash(root, signal.SIGSEGV)
    after = opened(root)
    assert states(after) == {"1": State.ACTIVE, "2": State.QUARANTINED}
    assert "died while variant only was loaded" in (after.slot("thing", "2").reason or "")
    assert opened(root).suspects == []


def test_a_process_killed_while_loading_keeps_its_model_until_the_third_time(
    library: Library, root: Path
) -> None:
    for version in ("1", "2"):
        add(library, version)
        library.activate("thing", version)
    crash(root, signal.SIGKILL)
    assert states(opened(root))["2"] is State.ACTIVE
    for _ in range(3):
        crash(root, signal.SIGKILL)
    assert states(opened(root)) == {"1": State.ACTIVE, "2": State.QUARANTINED}


def test_a_load_that_ended_is_no_suspect(library: Library, root: Path) -> None:
    add(library)
    library.begin_load("thing", "1", "only")
    library.end_load("thing", "1", "only")
    assert opened(root).suspects == []


def test_a_kill_at_any_step_leaves_every_version_whole_and_one_serving(library: Library, root: Path) -> None:
    add(library)
    library.activate("thing", "1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.killed_library", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, *outcomes = done.stdout.splitlines()
    assert int(steps) > 30
    assert {"1 active", "1 active, 2 ready", "1 ready, 2 active", "1 active, 2 quarantined"} <= set(outcomes)


def test_a_memory_file_given_by_another_process_is_taken_as_it_is(library: Library) -> None:
    sealed = memfd.seal(dense(), 1 << 20, "sent")
    library.add(GOOD, {"only.tflite": sealed.fd})
    sealed.close()
    assert states(library) == {"1": State.READY}
