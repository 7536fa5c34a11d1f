"""Every secret of a running process is looked for in everything of it that others could come to see."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edged.keys.hostfile import MEANING
from tests.rig import keyed
from tests.rig.keyed import forms, hits
from tests.rig.keyholder import PASSWORD, READING, WEIGHTS
from tests.rig.keyring import Device, board


class Seen(NamedTuple):
    """What a process shows."""

    files: bytes
    log: bytes
    process: bytes
    limits: str


@contextlib.contextmanager
def holder(device: Device) -> Iterator[Seen]:
    root = board(device.state.parent / "state-board", "1a2b3c")
    mode, tcti = ("off", "device:/dev/none") if device.tpm is None else ("required", device.tpm.tcti)
    log = device.state.parent / "log"
    command = [sys.executable, "-m", "tests.rig.keyholder", str(device.state), mode, tcti, str(root)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"holding\n", log.read_text()
        proc = Path(f"/proc/{process.pid}")
        shown = b"".join(
            (proc / name).read_bytes() for name in ("cmdline", "environ", "comm", "status", "maps")
        )
        files = b"".join(path.read_bytes() for path in sorted(device.state.rglob("*")) if path.is_file())
        yield Seen(files, log.read_bytes(), shown, (proc / "limits").read_text())


def secrets(device: Device) -> dict[str, bytes]:
    """Everything that must not be seen."""
    with contextlib.closing(device.place().open()) as vault:
        return {"password": PASSWORD, "reading": READING, "weights": WEIGHTS[:32], **keyed.secrets(vault)}


def test_the_search_finds_a_secret_in_every_form() -> None:
    secret = {"it": bytes(range(32))}
    for form in forms(secret["it"]):
        assert hits(b"before " + form + b" after", secret) == {"it"}
    assert hits(b"nothing", secret) == set()


def test_with_a_tpm_no_secret_is_in_any_file_log_environment_or_process_list(tpm_device: Device) -> None:
    with holder(tpm_device) as seen:
        wanted = secrets(tpm_device)
    assert len(wanted) == 19
    for raw in (seen.files, seen.log, seen.process):
        assert hits(raw, wanted) == set()
    assert b"event=enrol.begin" in seen.log
    assert "Max core file size        0                    0" in seen.limits


def test_without_a_tpm_the_wrapping_key_lies_open_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device(tmp_path)
    with holder(device) as seen:
        wanted = secrets(device)
    assert hits(seen.files, wanted) == set()
    key = (device.keys / "host.key").read_bytes()
    assert hits(seen.files, {"wrapping key": key}) == {"wrapping key"}
    assert hits(seen.log + seen.process, {**wanted, "wrapping key": key}) == set()
    assert MEANING.encode() in seen.log
