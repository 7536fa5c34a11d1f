"""Private models on a real disk: encrypted there, whole in memory, refused where there are no keys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import BadManifest, KeysCorrupt, KeysUnavailable
from edged.inference.models.library import Library
from edged.inference.trial.preflight import Preflight
from edged.keys import rotation
from edged.keys.sealedfiles import SealedFiles
from tests.rig.hostile import dense
from tests.rig.manifests import TENSORS, manifest_text
from tests.rig.sealer import Keys
from tests.rig.wanted import RUNTIME

WEIGHTS = dense()
PRIVATE = "private = true\n" + TENSORS


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


@pytest.fixture
def keys(state: Path) -> Iterator[Keys]:
    made = Keys(state)
    yield made
    made.vault.close()


def opened(state: Path, keys: Keys | None) -> Library:
    return Library(state / "models", Preflight(RUNTIME), sealer=keys)


def add(library: Library, parts: str = PRIVATE, version: str = "1") -> None:
    library.add(manifest_text(parts, {"only": WEIGHTS}, version=version), {"only.tflite": WEIGHTS})


def loaded(library: Library, version: str = "1") -> bytes:
    fd = library.open_variant("thing", version, "only")
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def on_disk(state: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file())


def test_a_private_model_is_nowhere_on_the_disk_and_whole_in_memory(state: Path, keys: Keys) -> None:
    library = opened(state, keys)
    add(library)
    assert not [at for at in range(0, len(WEIGHTS), 16) if WEIGHTS[at : at + 32] in on_disk(state)]
    assert loaded(library) == loaded(opened(state, keys)) == WEIGHTS
    assert library.examine("thing", "1").keys() == {"only"}


def test_a_public_model_lies_open_beside_it(state: Path, keys: Keys) -> None:
    library = opened(state, keys)
    add(library, TENSORS)
    assert (state / "models/thing/1/only.tflite").read_bytes() == WEIGHTS
    assert loaded(opened(state, None)) == WEIGHTS


def test_without_keys_a_private_model_is_refused_with_the_remedy(state: Path) -> None:
    library = opened(state, None)
    with pytest.raises(
        KeysUnavailable, match=r"thing 1 is private.*no keys; edged keys init makes them.*private = true"
    ):
        add(library)
    assert library.entries() == []
    assert WEIGHTS[:32] not in on_disk(state)
    add(library, TENSORS)


def test_where_the_keys_are_gone_it_is_listed_and_does_not_open(state: Path, keys: Keys) -> None:
    add(opened(state, keys))
    without = opened(state, None)
    assert [slot.name for slot in without.entries()] == ["thing"]
    with pytest.raises(KeysUnavailable):
        without.open_variant("thing", "1", "only")


def test_a_changed_moved_or_cut_file_does_not_open(state: Path, keys: Keys) -> None:
    library = opened(state, keys)
    add(library)
    add(library, version="2")
    stored = state / "models/thing/1/only.tflite.models.sealed"
    whole = stored.read_bytes()
    other = (state / "models/thing/2/only.tflite.models.sealed").read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", other):
        stored.write_bytes(damaged)
        with pytest.raises(KeysCorrupt):
            library.open_variant("thing", "1", "only")
    stored.write_bytes(whole)
    assert loaded(library) == WEIGHTS


def test_after_a_rotation_it_is_encrypted_again_and_opens(state: Path, keys: Keys) -> None:
    library, files = opened(state, keys), SealedFiles(keys.vault, state)
    add(library)
    epoch = rotation.rotate(keys.vault)
    assert loaded(library) == WEIGHTS
    for place, purpose in files.stale():
        files.reseal(place, purpose)
    assert rotation.retire(keys.vault, epoch) == [1]
    assert files.stale() == []
    assert loaded(library) == WEIGHTS


def test_many_loads_leave_no_descriptor_behind(state: Path, keys: Keys) -> None:
    library = opened(state, keys)
    add(library)
    stored = state / "models/thing/1/only.tflite.models.sealed"
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        loaded(library)
    stored.write_bytes(stored.read_bytes()[:-1])
    for _ in range(20):
        with contextlib.suppress(KeysCorrupt):
            library.open_variant("thing", "1", "only")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_that_only_encrypted_files_have_is_taken(state: Path, keys: Keys) -> None:
    text = manifest_text(TENSORS, {"only": WEIGHTS}).replace("only.tflite", "only.models.sealed")
    with pytest.raises(BadManifest, match=r"ends in \.sealed"):
        opened(state, keys).add(text, {"only.models.sealed": WEIGHTS})
