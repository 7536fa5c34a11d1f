"""A TPM for each test, and the wire it is reached by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.swtpm import Swtpm
from tests.rig.tpm_faults import Bus


@pytest.fixture
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as swtpm:
        yield swtpm


@pytest.fixture
def bus(tpm: Swtpm) -> Iterator[Bus]:
    with Bus(tpm) as wire:
        yield wire
