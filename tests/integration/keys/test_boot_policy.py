"""Keys that open in approved states of the machine alone, and what is left in any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cbor2
import msgspec
import pytest

from edged.errors import KeysPolicy
from edged.keys import recovering
from edged.keys.opening import Keyplace
from edged.keys.tpm.policy import BootPolicy, approve
from tests.rig.keyring import Device
from tests.rig.pki import FleetKey
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import measure

APPROVER, RECOVERY = FleetKey(), FleetKey()
FIRMWARE, UPDATE = hashlib.sha256(b"firmware 1").digest(), hashlib.sha256(b"firmware 2").digest()
PCR = 7


def extended(*digests: bytes) -> bytes:
    value = bytes(32)
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


class Measured:
    """A device whose keys are bound to what its firmware measures, and its folder of approvals."""

    def __init__(self, folder: Path, tpm: Swtpm) -> None:
        self.device = Device(folder, tpm)
        self.tcti = tpm.tcti
        self._approvals = folder / "approvals"
        self._approvals.mkdir()
        self._approver = folder / "approver.pem"
        self._approver.write_bytes(APPROVER.pem)
        self._rule = BootPolicy(approver=APPROVER.spki, pcrs=(PCR,))

    def approve(self, *measured: bytes, by: FleetKey = APPROVER) -> None:
        given = approve(by.private, self._rule, {PCR: extended(*measured)})
        content = cbor2.dumps(msgspec.to_builtins(given, builtin_types=(bytes,)))
        (self._approvals / str(len(measured))).write_bytes(content)

    def place(self, *, bound: bool = True) -> Keyplace:
        place = self.device.place()
        if bound:
            config = msgspec.structs.replace(
                place.config, pcrs=[PCR], approver=str(self._approver), approvals=str(self._approvals)
            )
            return Keyplace(place.directory, config, self.device.noted, environ={})
        return place


@pytest.fixture
def measured(tpm: Swtpm, tmp_path: Path) -> Measured:
    return Measured(tmp_path, tpm)


def test_keys_open_in_an_approved_state_and_after_an_approved_update(measured: Measured) -> None:
    measure(measured.tcti, PCR, FIRMWARE)
    measured.approve(FIRMWARE)
    vault = measured.place().make(recovery_key=RECOVERY.public)
    sealed = vault.seal("spool", "7", b"a reading")
    vault.close()
    measure(measured.tcti, PCR, UPDATE)
    with pytest.raises(KeysPolicy, match="no approval"):
        measured.place().open()
    measured.approve(FIRMWARE, UPDATE, by=RECOVERY)
    with pytest.raises(KeysPolicy):
        measured.place().open()
    measured.approve(FIRMWARE, UPDATE)
    assert measured.place().open().open("spool", "7", sealed) == b"a reading"


def test_in_a_state_that_nobody_approves_the_recovery_key_opens_them(measured: Measured) -> None:
    measure(measured.tcti, PCR, FIRMWARE)
    measured.approve(FIRMWARE)
    vault = measured.place().make(recovery_key=RECOVERY.public)
    sealed = vault.seal("spool", "7", b"a reading")
    vault.close()
    measure(measured.tcti, PCR, UPDATE)
    recovered = recovering.recover(measured.place(bound=False), RECOVERY.private)
    assert recovered.open("spool", "7", sealed) == b"a reading"
    recovered.close()
    assert measured.place(bound=False).open().open("spool", "7", sealed) == b"a reading"


def test_keys_are_not_bound_to_a_boot_that_nobody_measures(measured: Measured) -> None:
    with pytest.raises(KeysPolicy, match="nothing is measured"):
        measured.place().make()
    assert measured.place(bound=False).open_or_make().committed.counter > 0


def test_keys_are_not_bound_before_the_present_state_is_approved(measured: Measured) -> None:
    measure(measured.tcti, PCR, FIRMWARE)
    with pytest.raises(KeysPolicy, match="no approval"):
        measured.place().make()


def test_registers_without_an_approver_are_refused(measured: Measured) -> None:
    place = measured.place()
    config = msgspec.structs.replace(place.config, approver="")
    with pytest.raises(KeysPolicy, match="need an approver"):
        Keyplace(place.directory, config, measured.device.noted, environ={}).open_or_make()
