from __future__ import annotations

import os
from pathlib import Path

import pytest

from edged.errors import KeysCorrupt, NotFound
from edged.keys import rotation
from edged.keys.sealedfiles import SealedFiles
from edged.keys.vault import Purpose, Vault
from tests.rig.keyring import Device

BIG = os.urandom(700_000)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Device(tmp_path).place().open_or_make()


@pytest.fixture
def files(vault: Vault, tmp_path: Path) -> SealedFiles:
    return SealedFiles(vault, tmp_path / "state")


def test_a_large_file_comes_back_in_pieces_and_none_of_it_lies_open(files: SealedFiles) -> None:
    files.write("model", Purpose.MODELS, [BIG[:1], BIG[1:500_000], BIG[500_000:]])
    pieces = list(files.read("model", Purpose.MODELS))
    assert b"".join(pieces) == BIG
    assert len(pieces) > 1
    data = files.path("model", Purpose.MODELS).read_bytes()
    assert not any(BIG[at : at + 16] in data for at in range(0, len(BIG), 50_000))
    assert files.path("model", Purpose.MODELS).stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_moved_renamed_or_damaged_does_not_open(files: SealedFiles) -> None:
    files.write("one", Purpose.SECRETS, [b"the password"])
    path = files.path("one", Purpose.SECRETS)
    data = path.read_bytes()
    files.path("two", Purpose.SECRETS).write_bytes(data)
    files.path("one", Purpose.CONFIG).write_bytes(data)
    for place, purpose in (("two", Purpose.SECRETS), ("one", Purpose.CONFIG)):
        with pytest.raises(KeysCorrupt):
            list(files.read(place, purpose))
    path.write_bytes(data[:-1])
    with pytest.raises(KeysCorrupt):
        list(files.read("one", Purpose.SECRETS))
    path.write_bytes(b"")
    with pytest.raises(KeysCorrupt):
        list(files.read("one", Purpose.SECRETS))
    with pytest.raises(NotFound):
        list(files.read("none", Purpose.SECRETS))


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(files: SealedFiles) -> None:
    files.write("one", Purpose.SECRETS, [b"old"])

    def broken() -> object:
        yield b"new"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        files.write("one", Purpose.SECRETS, broken())  # type: ignore[arg-type] # it never ends well
    assert b"".join(files.read("one", Purpose.SECRETS)) == b"old"
    folder = files.path("one", Purpose.SECRETS).parent
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["one.secrets.sealed"]


def test_after_a_rotation_every_file_is_sealed_again_and_the_models_last(
    files: SealedFiles, vault: Vault
) -> None:
    for place, purpose in (("a", Purpose.MODELS), ("b", Purpose.TLS), ("c", Purpose.SECRETS)):
        files.write(place, purpose, [place.encode()])
    assert files.stale() == []
    rotation.rotate(vault)
    assert files.stale() == [("b", Purpose.TLS), ("c", Purpose.SECRETS), ("a", Purpose.MODELS)]
    for place, purpose in files.stale():
        files.reseal(place, purpose)
    rotation.retire(vault, vault.epoch)
    assert files.stale() == []
    assert b"".join(files.read("a", Purpose.MODELS)) == b"a"
