from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.keyring import Device
from tests.rig.swtpm import Swtpm
from tests.rig.tpm_faults import Bus


@pytest.fixture
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as started:
        yield started


@pytest.fixture
def bus(tpm: Swtpm) -> Iterator[Bus]:
    """The wire to it."""
    with Bus(tpm) as wire:
        yield wire


@pytest.fixture(params=["hostfile", "tpm"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    """A board without a TPM, and one with."""
    if request.param == "hostfile":
        yield Device(tmp_path)
        return
    with Swtpm() as started:
        yield Device(tmp_path, started)


@pytest.fixture
def tpm_device(tpm: Swtpm, tmp_path: Path) -> Device:
    return Device(tmp_path, tpm)
