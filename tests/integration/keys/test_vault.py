"""The vault on a real file system, with a file and with a TPM behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.errors import (
    BadConfig,
    KeysCorrupt,
    KeysReplaced,
    KeysStale,
    KeysUnavailable,
    NotFound,
    StorageError,
)
from edged.keys import cose, rotation
from edged.keys.backend import Protection
from edged.keys.opening import BEGUN
from edged.keys.secret import Secret
from edged.keys.vault import KEYSTORE, Purpose
from tests.rig import tpm_faults as faults
from tests.rig.keyring import Device, keyplace
from tests.rig.swtpm import Swtpm
from tests.rig.tpm_faults import Bus


def test_what_was_sealed_opens_after_a_restart(device: Device) -> None:
    vault = device.place().open_or_make()
    sealed = vault.sealer(Purpose.SPOOL).seal("7", b"a reading")
    identity = vault.identity
    vault.close()
    again = device.place().open()
    assert again.sealer(Purpose.SPOOL).open("7", sealed) == b"a reading"
    assert again.identity == identity
    with pytest.raises(KeysCorrupt):
        again.sealer(Purpose.SECRETS).open("7", sealed)
    again.close()


def test_closed_keys_open_nothing(device: Device) -> None:
    vault = device.place().open_or_make()
    sealed = vault.seal("spool", "7", b"a reading")
    vault.close()
    with pytest.raises(KeysUnavailable, match="closed"):
        vault.open("spool", "7", sealed)


def test_the_identity_signs_for_one_purpose_and_the_use_is_noted(device: Device) -> None:
    vault = device.place().open_or_make()
    message = vault.sign("status", b"all well")
    assert cose.verify1(vault.identity, message, purpose="status").payload == b"all well"
    assert device.noted.names() == ["keys.init", "keys.sign"]
    vault.sign("audit", b"a checkpoint notes itself")
    assert device.noted.names() == ["keys.init", "keys.sign"]
    vault.close()


def test_a_signature_that_cannot_be_noted_is_not_made(device: Device) -> None:
    vault = device.place().open_or_make()
    device.noted.refuse = StorageError("the disk is full")
    with pytest.raises(StorageError):
        vault.sign("status", b"all well")
    vault.close()


def test_files_of_keys_are_for_their_owner_alone(device: Device) -> None:
    device.place().open_or_make().close()
    assert device.keys.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in device.keys.iterdir()} == {0o600}


def test_there_are_no_keys_before_they_are_made(device: Device) -> None:
    with pytest.raises(NotFound, match="edged keys init"):
        device.place().open()


# ---- commits


def test_what_was_committed_is_in_force_after_a_restart(device: Device) -> None:
    vault = device.place().open_or_make()
    vault.commit({"config": b"one", "anchors": b"a"}, revision=1, floor_s=100)
    vault.commit({"config": b"two", "anchors": None}, revision=2, floor_s=50)
    vault.close()
    again = device.place().open()
    assert (again.read("config"), again.read("anchors"), again.read("nothing")) == (b"two", None, None)
    assert (again.committed.revision, again.committed.floor_s) == (2, 100)
    assert again.counter() == again.committed.counter
    again.close()


def test_what_is_no_longer_in_force_is_gone_from_the_disk(device: Device) -> None:
    vault = device.place().open_or_make()
    for revision in range(5):
        vault.commit({"config": b"%d" % revision}, revision=revision)
    names = sorted(path.name.rpartition("-")[0] for path in device.keys.glob("*-*"))
    assert names == ["commit", "config", "keystore"]
    vault.close()


def test_with_a_tpm_an_older_image_of_the_disk_is_refused(tpm_device: Device, tmp_path: Path) -> None:
    vault = tpm_device.place().open_or_make()
    vault.commit({"config": b"one"}, revision=1)
    image = tpm_device.image(tmp_path / "image")
    vault.commit({"config": b"two"}, revision=2)
    vault.close()
    newest = tpm_device.image(tmp_path / "newest")
    tpm_device.flash(image)
    with pytest.raises(KeysStale, match="older image"):
        tpm_device.place().open()
    tpm_device.flash(newest)
    assert tpm_device.place().open().read("config") == b"two"


def test_with_a_tpm_a_keystore_from_before_a_rotation_is_refused(tpm_device: Device, tmp_path: Path) -> None:
    vault = tpm_device.place().open_or_make()
    image = tpm_device.image(tmp_path / "image")
    rotation.rotate(vault)
    vault.close()
    tpm_device.flash(image)
    with pytest.raises(KeysStale):
        tpm_device.place().open()


def test_without_a_tpm_an_older_image_is_not_noticed_and_the_status_says_so(tmp_path: Path) -> None:
    device = Device(tmp_path)
    vault = device.place().open_or_make()
    image = device.image(tmp_path / "image")
    vault.commit({"config": b"two"}, revision=2)
    vault.close()
    device.flash(image)
    assert device.place().open().committed.revision == 0


@pytest.mark.parametrize("name", ["commit", "keystore", "config"])
def test_a_damaged_object_is_corrupt_and_not_taken_for_another_device(device: Device, name: str) -> None:
    vault = device.place().open_or_make()
    vault.commit({"config": b"one"}, revision=1)
    vault.close()
    (path,) = device.keys.glob(f"{name}-*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises((KeysCorrupt, KeysStale)):
        device.place().open().read("config")
    assert path.read_bytes() == data


# ---- another device


def test_a_golden_image_copied_to_another_board_is_noticed(tmp_path: Path) -> None:
    golden = Device(tmp_path / "golden", serial="board-1")
    golden.place().open_or_make().close()
    clone = Device(tmp_path / "clone", serial="board-2")
    clone.flash(golden.state)
    with pytest.raises(KeysReplaced, match="copied from another board"):
        clone.place().open_or_make()
    assert sorted(p.name for p in clone.keys.iterdir()) == sorted(p.name for p in golden.keys.iterdir())


def test_a_disk_in_front_of_another_tpm_is_noticed(tpm_device: Device, tmp_path: Path) -> None:
    tpm_device.place().open_or_make().close()
    with Swtpm() as other:
        clone = Device(tmp_path / "clone", other)
        clone.flash(tpm_device.state)
        with pytest.raises(KeysReplaced):
            clone.place().open_or_make()


def test_a_cleared_tpm_is_told_apart_from_damage_and_keeps_the_files(tpm_device: Device) -> None:
    tpm_device.place().open_or_make().close()
    before = {path: path.read_bytes() for path in tpm_device.keys.iterdir()}
    assert tpm_device.tpm is not None
    tpm_device.tpm.wipe()
    with pytest.raises(KeysReplaced, match="cleared"):
        tpm_device.place().open_or_make()
    assert {path: path.read_bytes() for path in tpm_device.keys.iterdir()} == before


def test_a_keystore_cannot_be_swapped_for_a_weaker_one(tpm_device: Device, tmp_path: Path) -> None:
    tpm_device.place().open_or_make().close()
    weak = Device(tmp_path / "weak", mode="off")
    weak.place().open_or_make().close()
    tpm_device.flash(weak.state)
    with pytest.raises(KeysReplaced, match="swapped for a weaker one"):
        tpm_device.place("off").open_or_make()


def test_a_wiped_disk_does_not_become_a_new_device_while_the_tpm_knows_the_old_one(
    tpm_device: Device,
) -> None:
    tpm_device.place().open_or_make().close()
    for path in tpm_device.keys.iterdir():
        path.unlink()
    with pytest.raises(KeysStale):
        tpm_device.place().open_or_make()


def test_a_device_can_be_given_up_for_a_new_one_and_its_files_are_kept(tpm_device: Device) -> None:
    tpm_device.place().open_or_make().close()
    for path in tpm_device.keys.glob("keystore-*"):
        path.unlink()
    with pytest.raises(KeysCorrupt):
        tpm_device.place().open_or_make()
    with pytest.raises(KeysReplaced, match="--forget"):
        tpm_device.place().make()
    tpm_device.place().make(forget=True).close()
    tpm_device.place().open().close()
    assert list(tpm_device.state.glob("keys.forgotten-*/commit-*"))


# ---- required, preferred, off


def test_required_without_a_tpm_refuses_with_reason_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(KeysUnavailable, match=r"tpm = required, and there is no .*Attach or enable a TPM"):
        Device(tmp_path, mode="required").place().open_or_make()


def test_preferred_without_a_tpm_works_and_says_loudly_what_that_means(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vault = Device(tmp_path, mode="preferred").place().open_or_make()
    assert vault.protection is Protection.HOSTFILE
    assert "whoever copies this disk has every secret on it" in caplog.text


def test_keys_that_were_in_a_tpm_never_come_back_without_it(tpm_device: Device, tmp_path: Path) -> None:
    tpm_device.place("preferred").open_or_make().close()
    tpm_device.tpm = None
    for mode in ("preferred", "off", "required"):
        with pytest.raises(KeysUnavailable, match="keys are in a TPM"):
            tpm_device.place(mode).open_or_make()


def test_a_device_that_comes_to_require_a_tpm_does_not_go_on_with_a_file(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.place().open_or_make().close()
    with pytest.raises(BadConfig, match="edged keys init moves them"):
        device.place("required").open_or_make()


def test_a_wrapping_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.place().open_or_make().close()
    (device.keys / "host.key").chmod(0o644)
    with pytest.raises(KeysCorrupt, match="others could have read it"):
        device.place().open()


# ---- rotation


def test_after_a_rotation_old_and_new_open_until_the_old_is_retired(device: Device) -> None:
    vault = device.place().open_or_make()
    old = vault.seal("models", "m", b"old")
    assert rotation.rotate(vault) == 2
    new = vault.seal("models", "m", b"new")
    assert (vault.stale(old), vault.stale(new)) == (True, False)
    vault.close()
    again = device.place().open()
    assert [again.open("models", "m", sealed) for sealed in (old, new)] == [b"old", b"new"]
    assert rotation.retire(again, 2) == [1]
    with pytest.raises(KeysCorrupt, match="retired"):
        again.open("models", "m", old)
    again.close()
    last = device.place().open()
    assert last.open("models", "m", new) == b"new"
    assert [root.epoch for root in last.keystore.roots] == [2]


def test_an_operators_act_that_cannot_be_noted_does_not_happen(device: Device) -> None:
    vault = device.place().open_or_make()
    device.noted.refuse = StorageError("the disk is full")
    with pytest.raises(StorageError):
        rotation.rotate(vault)
    assert vault.epoch == 1
    vault.close()


@pytest.mark.parametrize(
    "fault", [faults.never_arrives, faults.is_not_answered], ids=["unheard", "unanswered"]
)
@pytest.mark.parametrize("command", [faults.NV_INCREMENT, faults.NV_WRITE], ids=["count", "record"])
def test_a_rotation_that_may_have_happened_is_settled_before_anything_else_is_committed(
    tpm_device: Device, command: int, fault: faults.Fault
) -> None:
    tpm = tpm_device.tpm
    assert tpm is not None
    with Bus(tpm) as bus:
        place = keyplace(tpm_device.state, tpm_device.noted, tpm="required", tcti=bus.tcti, serial="1a2b3c")
        vault = place.open_or_make()
        before = vault.seal("spool", "7", b"before")
        bus.on(command, fault, fault)
        with pytest.raises(KeysUnavailable):
            rotation.rotate(vault)
        bus.clear()
        vault.commit({"config": b"one"}, revision=1)
        during = vault.seal("spool", "7", b"during")
        epoch = vault.epoch
        vault.close()
    again = tpm_device.place().open()
    assert again.epoch == epoch
    assert (again.read("config"), again.committed.revision) == (b"one", 1)
    assert [again.open("spool", "7", sealed) for sealed in (before, during)] == [b"before", b"during"]
    again.close()


def test_a_wiped_secret_seals_nothing() -> None:
    secret = Secret(bytes(range(32)))
    secret.wipe()
    for use in (
        secret.reveal,
        secret.check_value,
        lambda: secret.derive("spool", 1),
        lambda: secret.mac(b""),
    ):
        with pytest.raises(KeysUnavailable):
            use()


# ---- making keys, interrupted


def test_keys_whose_making_was_interrupted_are_made_anew(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = device.place()
    with monkeypatch.context() as patched:
        patched.setattr("edged.keys.commits.record", _power_cut)
        with pytest.raises(PowerCut):
            place.make()
    assert (device.keys / BEGUN).exists()
    assert list(device.keys.glob(f"{KEYSTORE}-*"))
    vault = device.place().open_or_make()
    assert not (device.keys / BEGUN).exists()
    vault.commit({"config": b"one"})
    vault.close()


class PowerCut(BaseException):
    pass


def _power_cut(*_: object) -> bytes:
    raise PowerCut
