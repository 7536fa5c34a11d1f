"""The daemon's audit log, as an operator finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.cli.resources import document
from edged.errors import EdgedError
from tests.rig.audit.stored import records, verify
from tests.rig.daemon import running


def test_what_operators_did_survives_a_kill_and_verifies(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with pytest.raises(EdgedError, match="no model"):
            daemon.call("models_activate", name="none", version="9")
        with daemon.client() as device:
            shown = document(device, "edged://audit")
        daemon.kill()
        daemon.start()
        daemon.stop()
    (log,) = tmp_path.rglob("audit")
    said = [(record.what, record.decision) for record in records(log)]
    assert said[:4] == [
        ("audit.segment", "begun"),
        ("daemon.start", "started"),
        ("models_activate", "allowed"),
        ("models_activate", "failed"),
    ]
    assert said[-2:] == [("daemon.start", "started"), ("daemon.stop", "stopping")]
    assert [record["what"] for record in shown["records"]][:3] == [what for what, _ in said[:3]]
    assert verify(log).intact
