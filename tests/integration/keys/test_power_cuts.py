"""The power goes at every single operation of the disk while keys are made, used and rotated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edged.keys.vault import Vault
from tests.rig.keyring import board, keyplace
from tests.rig.powercut import record


@pytest.mark.parametrize("seed", [0, 5])
def test_a_device_starts_after_a_cut_at_any_operation_with_all_it_was_promised(
    seed: int, tmp_path: Path
) -> None:
    state = tmp_path / "life" / "state"
    state.mkdir(parents=True, mode=0o700)
    board(tmp_path / "life" / "state-board")
    log = record([sys.executable, "-m", "tests.rig.keylife", str(state)], state)
    assert log.returncode == 0, log.output
    for at in range(len(log) + 1):
        fresh = log.cut(at, seed).write(tmp_path / str(at) / "state")
        vault = keyplace(fresh).open_or_make()
        kept = promises(vault)
        assert set(log.notes(at)) <= kept, f"cut after {at} of {len(log)} operations"
        vault.close()


def promises(vault: Vault) -> set[str]:
    """Which of the notes of `keylife.short` hold."""
    revision = vault.committed.revision
    assert vault.read("config") == {0: None, 1: b"one", 2: b"two"}[revision]
    held = {"made": True, "committed": revision >= 1, "rotated": vault.epoch == 2}
    held["retired"] = [root.epoch for root in vault.keystore.roots] == [2]
    return {note for note, holds in held.items() if holds}
