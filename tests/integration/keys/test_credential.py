"""systemd's credential as the wrapping key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edged.errors import KeysCorrupt, KeysUnavailable
from edged.keys import credential
from edged.keys.backend import Protection
from edged.keys.config import KeysConfig
from edged.keys.opening import Keyplace
from tests.rig.keyring import Noted, board


def place(folder: Path, environ: dict[str, str]) -> Keyplace:
    config = KeysConfig(tpm="preferred", tcti="device:/dev/none", board_root=str(board(folder / "board")))
    return Keyplace(folder / "keys", config, Noted(), environ=environ)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / credential.NAME).write_bytes(os.urandom(32))
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def test_keys_are_wrapped_with_the_credential_and_no_key_lies_beside_them(
    tmp_path: Path, given: dict[str, str]
) -> None:
    vault = place(tmp_path, given).open_or_make()
    sealed = vault.seal("spool", "7", b"a reading")
    vault.close()
    again = place(tmp_path, given).open()
    assert again.protection is Protection.CREDENTIAL_HOST
    assert again.open("spool", "7", sealed) == b"a reading"
    raw = b"".join(path.read_bytes() for path in (tmp_path / "keys").iterdir())
    assert Path(given["CREDENTIALS_DIRECTORY"], credential.NAME).read_bytes() not in raw
    assert not (tmp_path / "keys/host.key").exists()


def test_without_the_credential_nothing_weaker_takes_its_place(tmp_path: Path, given: dict[str, str]) -> None:
    place(tmp_path, given).open_or_make().close()
    with pytest.raises(KeysUnavailable, match="LoadCredentialEncrypted=edged.root"):
        place(tmp_path, {}).open_or_make()


def test_another_credential_opens_nothing(tmp_path: Path, given: dict[str, str]) -> None:
    place(tmp_path, given).open_or_make().close()
    Path(given["CREDENTIALS_DIRECTORY"], credential.NAME).write_bytes(os.urandom(32))
    with pytest.raises(KeysCorrupt):
        place(tmp_path, given).open_or_make()


def test_a_credential_that_is_too_short_is_refused(tmp_path: Path, given: dict[str, str]) -> None:
    Path(given["CREDENTIALS_DIRECTORY"], credential.NAME).write_bytes(b"password")
    with pytest.raises(KeysCorrupt, match="32 random"):
        place(tmp_path, given).open_or_make()


@pytest.mark.parametrize(("host", "tpm", "due"), [
    (1, 1, Protection.CREDENTIAL_HOST),
    (1, 0, Protection.CREDENTIAL_HOST),
    (0, 1, Protection.CREDENTIAL_TPM),
    (0, 0, Protection.CREDENTIAL_HOST),
])  # fmt: skip
def test_what_protects_it_is_told_as_far_as_it_can_be(
    host: int,
    tpm: int,
    due: Protection,
    tmp_path: Path,
    given: dict[str, str],
) -> None:
    root = board(tmp_path / "board")
    if host:
        (root / credential.HOST_KEY).parent.mkdir(parents=True)
        (root / credential.HOST_KEY).write_bytes(b"")
    if tpm:
        (root / "sys/class/tpm/tpm0").mkdir(parents=True)
    assert place(tmp_path, given).open_or_make().protection is due
