"""The recovery key: proven, used on another board, and the state carried there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.errors import KeysCorrupt, KeysReplaced, KeysStale, KeysUnavailable, Rejected
from edged.keys import exporting, recovering, rotation
from edged.keys.backend import Protection
from edged.keys.sealedfiles import SealedFiles
from edged.keys.vault import Purpose, Vault
from tests.rig.keyring import Device
from tests.rig.pki import FleetKey
from tests.rig.swtpm import Swtpm

RECOVERY, STRANGER = FleetKey(), FleetKey()


def lived(device: Device) -> bytes:
    """Keys with a recovery key, a rotation and a config; something that was sealed before the rotation."""
    vault = device.place().make(recovery_key=RECOVERY.public)
    sealed = vault.seal("secrets", "broker", b"the password")
    rotation.rotate(vault)
    vault.commit({"config": b"one"}, revision=1)
    vault.close()
    return sealed


def whole(vault: Vault, sealed: bytes) -> bool:
    return (vault.open("secrets", "broker", sealed), vault.read("config")) == (b"the password", b"one")


def test_a_drill_proves_every_epoch_and_is_written_down(device: Device) -> None:
    lived(device)
    vault = device.place().open()
    assert recovering.drill(vault, RECOVERY.private, 1_800_000_000) == [1, 2]
    vault.close()
    assert device.place().open().keystore.drilled_s == 1_800_000_000
    assert device.noted.names()[-1] == "keys.drill"


def test_a_drill_with_another_key_or_without_any_fails(device: Device) -> None:
    lived(device)
    vault = device.place().open()
    with pytest.raises(Rejected, match="the keys are wrapped for"):
        recovering.drill(vault, STRANGER.private, 1)
    recovering.entrust(vault, STRANGER.public)
    assert recovering.drill(vault, STRANGER.private, 1) == [1, 2]
    vault.close()


def test_without_a_recovery_key_there_is_nothing_to_recover(device: Device) -> None:
    device.place().make().close()
    with pytest.raises(KeysCorrupt, match="without a recovery key"):
        recovering.recover(device.place(), RECOVERY.private)


def test_after_the_tpm_was_replaced_the_recovery_key_brings_everything_back(tpm_device: Device) -> None:
    sealed = lived(tpm_device)
    before = tpm_device.place().open()
    identity = before.identity
    before.close()
    assert tpm_device.tpm is not None
    tpm_device.tpm.wipe()
    with pytest.raises(KeysReplaced):
        tpm_device.place().open_or_make()
    vault = recovering.recover(tpm_device.place(), RECOVERY.private)
    assert whole(vault, sealed)
    assert vault.identity != identity
    vault.close()
    again = tpm_device.place().open()
    assert whole(again, sealed)
    assert recovering.drill(again, RECOVERY.private, 1) == [1, 2]
    again.close()


def test_an_older_image_that_is_wanted_is_recovered_and_goes_on_above(
    tpm_device: Device, tmp_path: Path
) -> None:
    sealed = lived(tpm_device)
    image = tpm_device.image(tmp_path / "image")
    vault = tpm_device.place().open()
    vault.commit({"config": b"two"}, revision=2)
    before = vault.counter()
    vault.close()
    newest = tpm_device.image(tmp_path / "newest")
    tpm_device.flash(image)
    with pytest.raises(KeysStale):
        tpm_device.place().open()
    recovered = recovering.recover(tpm_device.place(), RECOVERY.private)
    assert whole(recovered, sealed)
    assert recovered.counter() > before
    recovered.close()
    tpm_device.flash(newest)
    with pytest.raises(KeysStale):
        tpm_device.place().open()


def test_keys_of_a_tpm_are_not_recovered_into_a_file_unless_that_is_said(tpm_device: Device) -> None:
    sealed = lived(tpm_device)
    tpm_device.tpm = None
    with pytest.raises(KeysUnavailable, match="--weaker"):
        recovering.recover(tpm_device.place("preferred"), RECOVERY.private)
    vault = recovering.recover(tpm_device.place("preferred"), RECOVERY.private, weaker=True)
    assert vault.protection is Protection.HOSTFILE
    assert whole(vault, sealed)
    vault.close()
    assert whole(tpm_device.place("preferred").open(), sealed)


def test_a_damaged_wrapping_key_is_recovered_and_kept_aside(tmp_path: Path) -> None:
    device = Device(tmp_path)
    sealed = lived(device)
    (device.keys / "host.key").write_bytes(b"short")
    with pytest.raises(KeysCorrupt, match="damaged"):
        device.place().open()
    assert whole(recovering.recover(device.place(), RECOVERY.private), sealed)
    assert [path.read_bytes() for path in device.keys.glob("host.key.damaged-*")] == [b"short"]
    assert whole(device.place().open(), sealed)


def test_keys_made_without_a_tpm_move_into_one_that_comes(tmp_path: Path) -> None:
    device = Device(tmp_path, mode="preferred")
    sealed = lived(device)
    with Swtpm() as tpm:
        device.tpm = tpm
        vault = device.place().open()
        moved = recovering.strengthen(device.place(), vault)
        assert moved is not None
        assert whole(moved, sealed)
        moved.close()
        again = device.place().open()
        assert again.protection is Protection.TPM_SW
        assert whole(again, sealed)
        assert not list(device.keys.glob("host.*"))
        assert recovering.strengthen(device.place(), again) is None
        again.close()


# ---- export and restore


def filled(device: Device) -> bytes:
    sealed = lived(device)
    vault = device.place().open()
    files = SealedFiles(vault, device.state)
    (device.state / "models").mkdir()
    files.write("models/private", Purpose.MODELS, [b"weights " * 100_000])
    (device.state / "models/public").write_bytes(b"public weights" * 1000)
    (device.state / "lock").touch()
    vault.close()
    return sealed


def test_the_state_is_restored_onto_a_blank_board_under_its_own_keys(device: Device, tmp_path: Path) -> None:
    sealed = filled(device)
    export = tmp_path / "export"
    done = exporting.export(device.state, export, RECOVERY.public, "aes-256-gcm")
    assert done.files == 5
    assert b"public weights" not in export.read_bytes()
    with Swtpm() as tpm:
        blank = Device(tmp_path / "blank", tpm, serial="another board")
        assert exporting.unpack(export, RECOVERY.private, blank.state) == 5
        assert "host.key" not in [path.name for path in blank.keys.iterdir()]
        vault = recovering.recover(blank.place(), RECOVERY.private)
        assert whole(vault, sealed)
        content = b"".join(SealedFiles(vault, blank.state).read("models/private", Purpose.MODELS))
        assert content == b"weights " * 100_000
        vault.close()
        assert whole(blank.place().open(), sealed)


def test_an_export_opens_with_the_recovery_key_alone_and_on_a_blank_board(tmp_path: Path) -> None:
    device = Device(tmp_path)
    filled(device)
    export = tmp_path / "export"
    exporting.export(device.state, export, RECOVERY.public, "chacha20-poly1305")
    blank = tmp_path / "blank"
    with pytest.raises(Rejected, match="wrapped for"):
        exporting.unpack(export, STRANGER.private, blank)
    with pytest.raises(Rejected, match="blank board"):
        exporting.unpack(export, RECOVERY.private, device.state)
    assert not (blank / "keys").exists()


@pytest.mark.parametrize("at", [0, 5, 100, 400, 100_000, -1])
def test_a_damaged_or_shortened_export_leaves_the_board_blank(at: int, tmp_path: Path) -> None:
    device = Device(tmp_path)
    filled(device)
    export = tmp_path / "export"
    exporting.export(device.state, export, RECOVERY.public, "aes-256-gcm")
    whole_file = export.read_bytes()
    for data in (whole_file[:at], _flipped(whole_file, at)):
        export.write_bytes(data)
        with pytest.raises((KeysCorrupt, Rejected)):
            exporting.unpack(export, RECOVERY.private, tmp_path / "blank")
        assert list((tmp_path / "blank").iterdir()) == []


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
