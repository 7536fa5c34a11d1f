"""The broker's password in a file that the device's keys open, as the thread that dials reads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.daemon.sealing import DeviceSecrets, SpoolKeys
from edged.errors import BadConfig, KeysCorrupt, KeysUnavailable, NotFound
from edged.keys.config import KeysConfig
from edged.keys.keyring import Keyring
from edged.keys.sealedfiles import SealedFiles
from edged.keys.vault import Purpose
from edged.links.mqtt.secrets import PlainFiles
from tests.rig.keyring import Device


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def keys(device: Device) -> Iterator[Keyring]:
    keyring = Keyring(KeysConfig(tpm="off"), device.state, device.noted, device.place())
    with asyncio.Runner() as runner:
        runner.run(keyring.open())
        yield keyring
        runner.run(keyring.close())


def test_a_sealed_file_is_opened_and_one_of_another_name_or_place_is_not(
    device: Device, keys: Keyring, tmp_path: Path
) -> None:
    files, secrets = SealedFiles(keys.vault, device.state), DeviceSecrets(keys, device.state)
    files.write("secrets/mqtt", Purpose.SECRETS, [b"correct horse\n"])
    path = files.path("secrets/mqtt", Purpose.SECRETS)
    assert secrets.read(path) == b"correct horse\n"
    other = path.with_name("other.secrets.sealed")
    other.write_bytes(path.read_bytes())
    with pytest.raises(KeysCorrupt):
        secrets.read(other)
    with pytest.raises(NotFound):
        secrets.read(path.with_name("none.secrets.sealed"))
    for away in (tmp_path / path.name, device.state / ".." / path.name):
        with pytest.raises(BadConfig, match=str(device.state)):
            secrets.read(away)


def test_a_file_that_lies_open_is_read_and_complained_of_once(
    device: Device, keys: Keyring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets, plain = DeviceSecrets(keys, device.state), tmp_path / "password"
    plain.write_bytes(b"correct horse")
    with caplog.at_level(logging.WARNING, "edged"):
        assert secrets.read(plain) == secrets.read(plain) == b"correct horse"
    assert [record.getMessage() for record in caplog.records] == [
        f"a secret lies open although there are keys path={plain}: edged keys seal covers it"
    ]


def test_without_keys_a_sealed_file_is_never_taken_for_the_password(tmp_path: Path) -> None:
    sealed = tmp_path / "mqtt.secrets.sealed"
    sealed.write_bytes(b"eds1")
    with pytest.raises(BadConfig, match="no keys here"):
        PlainFiles().read(sealed)
    with pytest.raises(BadConfig, match="cannot read"):
        PlainFiles().read(tmp_path / "none")


def test_keys_that_are_not_open_say_so_to_whoever_seals(device: Device) -> None:
    keys = Keyring(KeysConfig(tpm="off"), device.state, device.noted, device.place())
    sealer = SpoolKeys(keys)
    assert isinstance(sealer.problem, KeysUnavailable)
    with pytest.raises(KeysUnavailable):
        sealer.seal("record", b"{}")
    with pytest.raises(KeysUnavailable):
        DeviceSecrets(keys, device.state).read(device.state / "secrets/mqtt.secrets.sealed")
