"""What is not used is not in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig import daemon


@pytest.mark.parametrize("library", ["libcrypto", "libsqlite3", "_multiarray", "llvmlite", "LiteRt"])
def test_a_daemon_without_models_maps_nothing_that_only_models_tasks_or_tls_need(
    tmp_path: Path, library: str
) -> None:
    with daemon.running(tmp_path) as device:
        assert device.call("device_status")
        assert library not in Path(f"/proc/{device.process.pid}/maps").read_text()
