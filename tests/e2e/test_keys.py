"""The daemon of a device with keys, in a TPM, in a file, and without any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.cli.audit import CHANGED, INTACT
from edged.cli.resources import document
from edged.errors import EdgedError
from edged.keys.hostfile import MEANING
from tests.rig.audit.stored import records
from tests.rig.keyed import ROOT, Console, device, hits, secrets, shown, started, vouched
from tests.rig.pki import FleetKey
from tests.rig.swtpm import Swtpm

NORMAL = [50, 0, 79, 0, 40, -18, 29, 40, 12]


@pytest.fixture
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as one:
        yield one


# ---- without a TPM


def test_required_and_no_tpm_ends_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    code, said = Console(tmp_path, mode="required").refused()
    assert code == 1
    assert "edged ends: [keys] tpm = required, and there is no /dev/none" in said[-1]
    assert "Attach or enable a TPM 2.0" in said[-1]
    assert "or choose preferred" in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_start_that_was_refused_leaves_no_keys_behind(tmp_path: Path) -> None:
    Console(tmp_path, mode="required").refused()
    with started(Console(tmp_path)) as daemon:
        assert daemon.call("device_status")["keys"]["protection"] == "none"


def test_required_refuses_keys_that_lie_in_a_file(tmp_path: Path) -> None:
    Console(tmp_path).run("keys", "init")
    code, said = Console(tmp_path, mode="required").refused()
    assert code == 1
    assert "these keys are kept by hostfile: edged keys init moves them into a TPM" in said[-1]


def test_a_device_without_keys_serves_and_says_so(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with started(console) as daemon:
        keys = daemon.call("device_status")["keys"]
        said = console.run("status")["keys"]
        with daemon.client() as client:
            audit = document(client, "edged://audit")["status"]
    assert keys == said
    assert (keys["protection"], keys["identity"], keys["enrolled"]) == ("none", None, False)
    assert "edged keys init or edged enrol makes them" in keys["problem"]
    assert "no keys: nothing vouches for the audit log" in daemon.log
    assert (audit["anchor"], audit["covered"]) == ("none", 0)


def test_keys_in_a_file_serve_and_say_loudly_what_that_means(tmp_path: Path) -> None:
    console = Console(tmp_path)
    assert console.run("keys", "init")["protection"] == "hostfile"
    with started(console) as daemon:
        keys = daemon.call("device_status")["keys"]
        assert console.run("status")["keys"] == keys
        assert vouched(daemon)["anchor"] == "in step"
    assert (keys["protection"], keys["problem"]) == ("hostfile", None)
    assert MEANING in keys["warnings"]
    assert f"WARNING edged.keys.hostfile: key_protection=hostfile: {MEANING}" in daemon.log


# ---- with one


def verified(console: Console) -> tuple[int, dict[str, Any]]:
    """What anybody with the device's public key finds in its audit log."""
    key = console.file("identity.pem", console.run("keys", "public")["pem"].encode())
    done = console.tried("audit", "verify", "--key", key)
    return done.returncode, json.loads(done.stdout)


def test_the_audit_log_of_a_device_with_a_tpm_is_signed_and_anchored_through_a_kill(
    tmp_path: Path, tpm: Swtpm
) -> None:
    with device(tmp_path, tpm) as (console, daemon):
        keys = daemon.call("device_status")["keys"]
        assert (keys["protection"], keys["problem"]) == ("tpm-sw", None)
        before = vouched(daemon)
        assert (before["anchor"], before["failing"]) == ("in step", None)
        daemon.kill()
        daemon.start()
        again = daemon.call("device_status")["keys"]
        after = vouched(daemon, before["records"] + 1)
        assert (after["anchor"], after["failing"]) == ("in step", None)
    assert again == keys
    code, verdict = verified(console)
    assert (code, verdict["intact"], verdict["signatures"]) == (INTACT, True, "checked")
    assert verdict["checkpoints"] >= 2
    done = [record.what for record in records(console.state / "audit")]
    assert done.index("keys.init") < done.index("daemon.start")


def test_a_byte_changed_while_the_device_was_off_is_found(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path, tpm) as (console, daemon):
        vouched(daemon)
    (log,) = (console.state / "audit").glob("*.audit")
    raw = bytearray(log.read_bytes())
    raw[raw.index(b"keys.init")] ^= 1
    log.write_bytes(raw)
    code, verdict = verified(console)
    assert (code, verdict["intact"]) == (CHANGED, False)


def test_an_older_audit_log_put_back_is_told(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path, tpm) as (console, daemon):
        vouched(daemon)
        daemon.stop()
        shutil.copytree(console.state / "audit", tmp_path / "backup")
        daemon.start()
        vouched(daemon, len(records(console.state / "audit")))
        daemon.stop()
        shutil.rmtree(console.state / "audit")
        shutil.copytree(tmp_path / "backup", console.state / "audit")
        daemon.start()
        assert vouched(daemon, len(records(console.state / "audit")))["anchor"] == "mismatch"
    assert "audit anchor is not where the log leads" in daemon.log


def test_a_tpm_that_hangs_keeps_no_call_waiting(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path, tpm) as (_, daemon):
        vouched(daemon)
        tpm.freeze()
        with pytest.raises(EdgedError, match="no model"):
            daemon.call("models_activate", name="none", version="9")  # something to vouch for
        failing = vouched(daemon, 1 << 30)
        assert "what holds the keys has not answered" in failing["failing"]
        keys = daemon.call("device_status")["keys"]
        assert "what holds the keys has not answered" in keys["warnings"][0]
        tpm.thaw()
        recovered = vouched(daemon, failing["records"])
        assert daemon.call("echo", text="there")["text"] == "there"
    assert recovered["anchor"] != "mismatch"


def test_a_daemon_whose_tpm_hangs_ends_when_asked_to(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path, tpm) as (_, daemon):
        vouched(daemon)
        tpm.freeze()
        assert daemon.stop() == 0
        tpm.thaw()


def test_a_state_before_another_tpm_impersonates_nobody(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path / "one", tpm, mode="preferred") as (console, daemon):
        identity = daemon.call("device_status")["keys"]["identity"]
    with Swtpm() as other:
        copy = Console(tmp_path / "two", other.tcti)
        shutil.copytree(console.state, copy.state)
        shutil.rmtree(tmp_path / "two" / "board")
        shutil.copytree(tmp_path / "one" / "board", tmp_path / "two" / "board")
        with started(copy) as daemon:
            keys = daemon.call("device_status")["keys"]
            assert daemon.call("echo", text="there")["text"] == "there"
        refused = copy.tried("keys", "status")
    assert keys["protection"] == "none"
    assert keys["identity"] != identity
    assert "the TPM was cleared, or is another one" in keys["problem"]
    assert "error=KeysReplaced" in daemon.log
    assert refused.returncode == 1
    assert (copy.state / "keys").exists()


def test_required_before_another_tpm_refuses_to_start(tmp_path: Path, tpm: Swtpm) -> None:
    console = Console(tmp_path, tpm.tcti, "required")
    console.run("keys", "init")
    tpm.wipe()
    code, said = console.refused()
    assert code == 1
    assert "the TPM was cleared, or is another one" in said[-1]
    assert "recover this device with its recovery key" in said[-1]


def test_keys_whose_tpm_is_gone_come_back_with_it_and_not_without(tmp_path: Path, tpm: Swtpm) -> None:
    console = Console(tmp_path, tpm.tcti)
    console.run("keys", "init")
    Console(tmp_path)  # its driver is gone
    with started(console) as daemon:
        keys = daemon.call("device_status")["keys"]
    assert keys["protection"] == "none"
    assert "the keys are in a TPM, and there is no /dev/none" in keys["problem"]
    back = Console(tmp_path, tpm.tcti)
    with started(back) as daemon:
        assert daemon.call("device_status")["keys"]["protection"] == "tpm-sw"


def test_keys_that_were_deleted_are_missed(tmp_path: Path, tpm: Swtpm) -> None:
    with device(tmp_path, tpm, mode="preferred") as (console, daemon):
        vouched(daemon)
    shutil.rmtree(console.state / "keys")
    with started(console) as daemon:
        keys = daemon.call("device_status")["keys"]
    assert keys["protection"] == "none"
    assert "an older image of the disk, or files were lost" in keys["problem"]


# ---- what is seen of it


def test_nothing_that_a_running_device_shows_holds_a_secret(tmp_path: Path, tpm: Swtpm) -> None:
    console, recovery = Console(tmp_path, tpm.tcti, "required"), FleetKey()
    console.enrol(recovery)
    with console.vault() as vault:
        wanted = secrets(vault)
    wanted["recovery key"] = recovery.private.private_numbers().private_value.to_bytes(32, "big")
    with started(console) as daemon:
        assert daemon.call("device_status")["keys"]["enrolled"]
        vouched(daemon)
        seen = shown(console, daemon)
    assert len(wanted) == 10
    for raw in (seen.files, seen.log, seen.process):
        assert hits(raw, wanted) == set()
    assert "Max core file size        0                    0" in seen.limits


def test_without_a_tpm_the_wrapping_key_lies_open_and_nothing_else(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.enrol(FleetKey())
    with console.vault() as vault:
        wanted = secrets(vault)
    key = (console.state / "keys" / "host.key").read_bytes()
    with started(console) as daemon:
        seen = shown(console, daemon)
        said = daemon.call("device_status")["keys"]["warnings"]
    assert hits(seen.files, {**wanted, "wrapping key": key}) == {"wrapping key"}
    assert hits(seen.log + seen.process, {**wanted, "wrapping key": key}) == set()
    assert MEANING in said


# ---- private models


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder with a model of ours, as its owner would mark it."""
    folder = shutil.copytree(ROOT / "models" / "shuttle_radiator", tmp_path / "given")
    manifest = folder / "manifest.toml"
    manifest.write_text("private = true\n" + manifest.read_text())
    return folder


def found_in(folder: Path, content: bytes) -> list[Path]:
    """The files that hold any piece of it."""
    pieces = [content[at : at + 64] for at in range(0, len(content), 64)]
    telling = [piece for piece in pieces if len(set(piece)) > 16]
    assert telling
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(piece in path.read_bytes() for piece in telling)]


def test_a_private_model_answers_and_is_in_no_file_of_the_device(
    tmp_path: Path, tpm: Swtpm, private: Path
) -> None:
    home = tmp_path / "home"
    with device(home, tpm) as (console, daemon):
        daemon.install(private)
        (entry,) = daemon.call("models_list")["models"]
        before = daemon.call("infer_shuttle_radiator", values=NORMAL)
        daemon.kill()
        daemon.start()
        again = daemon.call("infer_shuttle_radiator", values=NORMAL)
        for path in private.glob("shuttle_radiator_*"):
            assert found_in(home, path.read_bytes()) == [], path
    assert entry["private"]
    assert again["score"] == before["score"]
    assert console.run("keys", "rotate", "--retire")["files"] == len(list(private.glob("shuttle_radiator_*")))
    with started(console) as daemon:
        assert daemon.call("infer_shuttle_radiator", values=NORMAL)["score"] == before["score"]


def test_without_keys_a_private_model_is_refused_and_a_public_one_served(
    tmp_path: Path, private: Path
) -> None:
    with started(Console(tmp_path / "home")) as daemon:
        with pytest.raises(
            EdgedError, match="is private, and this device cannot encrypt it: there are no keys"
        ):
            daemon.install(private)
        daemon.install(ROOT / "models" / "shuttle_radiator")
        (entry,) = daemon.call("models_list")["models"]
    assert not entry["private"]


def test_when_its_keys_are_gone_a_private_model_alone_fails_and_says_why(
    tmp_path: Path, tpm: Swtpm, private: Path
) -> None:
    with device(tmp_path / "home", tpm, mode="preferred") as (console, daemon):
        daemon.install(private)
        daemon.stop()
        tpm.wipe()
        daemon.start()
        with pytest.raises(EdgedError, match="the TPM was cleared, or is another one"):
            daemon.call("infer_shuttle_radiator", values=NORMAL)
        assert daemon.call("echo", text="there")["text"] == "there"
    assert found_in(console.home, (private / "shuttle_radiator_f32.tflite").read_bytes()) == []
