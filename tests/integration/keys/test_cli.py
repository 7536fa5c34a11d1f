"""`edged keys`, `edged enrol` and `edged attest`, as an operator runs them while the daemon is stopped."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.cli import state
from edged.cli.main import main
from edged.keys.sealedfiles import SealedFiles
from edged.keys.vault import Purpose
from tests.rig.fastloop import run_fast
from tests.rig.keyring import board
from tests.rig.pki import NOW_S, Authority, FleetKey
from tests.rig.spool_desk import desk, record
from tests.rig.spool_keys import VaultKeys
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import measure

RECOVERY, FLEET = FleetKey(), FleetKey()


class Console:
    """One operator at one board."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], tcti: str = "device:/dev/none"
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        folder.mkdir(exist_ok=True)
        self.config = folder / "edged.toml"
        root = board(folder / "board")
        self.set(f'[paths]\nstate = "{folder}/state"\n[keys]\ntcti = "{tcti}"\nboard_root = "{root}"\n')
        self.error = ""

    def set(self, text: str) -> None:
        self.config.write_text(text)

    def run(self, *arguments: str, fails: int = 0) -> Any:
        """The JSON answer of a command; what it said to the operator is in `error`."""
        code = main([*arguments, "--config", str(self.config), "--json"])
        out, self.error = self._capsys.readouterr()
        assert code == fails, self.error
        return json.loads(out) if out else None

    def file(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(state, "now_s", lambda: NOW_S)
    return Console(tmp_path / "one", capsys)


@pytest.fixture
def with_tpm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tpm: Swtpm
) -> Console:
    monkeypatch.setattr(state, "now_s", lambda: NOW_S)
    return Console(tmp_path / "tpm", capsys, tpm.tcti)


def test_an_operator_makes_keys_proves_them_and_renews_them(console: Console) -> None:
    made = console.run("keys", "init", "--recovery-key", console.file("recovery.pub", RECOVERY.pem))
    assert made["protection"] == "hostfile"
    assert any("whoever copies this disk" in line for line in made["warnings"])
    assert any("edged keys drill" in line for line in made["warnings"])
    key = console.file("recovery.key", RECOVERY.private_pem)
    assert console.run("keys", "drill", "--key", key) == {"proven": True, "epochs": [1]}
    assert console.run("keys", "rotate") == {
        "epoch": 2,
        "files": 0,
        "records": 0,
        "retired": [],
        "opens": [1, 2],
    }
    assert console.run("keys", "rotate", "--retire") == {
        "epoch": 3,
        "files": 0,
        "records": 0,
        "retired": [1, 2],
        "opens": [3],
    }
    status = console.run("keys", "status")
    assert (status["epoch"], status["recovery"]["drilled_s"]) == (3, NOW_S)
    assert not any("edged keys drill" in line for line in status["warnings"])


def test_what_goes_wrong_is_said_with_the_remedy(console: Console) -> None:
    console.run("keys", "status", fails=1)
    assert "edged keys init makes them" in console.error
    console.run("keys", "init", "--tpm", "required", fails=1)
    assert "Attach or enable a TPM 2.0" in console.error
    console.run("keys", "init")
    console.run("keys", "init", fails=1)
    assert "this device has keys" in console.error
    console.run("keys", "export", str(console.folder / "export"), fails=1)
    assert "--recovery-key" in console.error
    console.run("attest", "quote", "--nonce", "00" * 20, fails=1)
    assert "only a TPM can state what it is" in console.error
    with state.held(console.folder / "state"):
        console.run("keys", "rotate", fails=1)
        assert "systemctl stop edged" in console.error
        assert console.run("keys", "status")["epoch"] == 1


def test_a_status_beside_a_running_daemon_tidies_nothing_away(console: Console) -> None:
    console.run("keys", "init")
    staged = console.folder / "state/keys" / ("config-" + "0" * 32)
    staged.write_bytes(b"the daemon is about to commit this")
    console.run("keys", "status")
    assert staged.exists()
    console.run("keys", "rotate")
    assert not staged.exists()


def enrolled(console: Console) -> Callable[[str, int], bytes]:
    """Enrol, and give what signs further requests."""
    authority = Authority()
    into = str(console.folder)
    told = console.run(
        "enrol", "begin", "--device", "cam-7", "--anchor", console.file("fleet.pem", FLEET.pem), "--broker-ca",
        console.file("ca.pem", authority.pem), "--recovery-key", console.file("recovery.pub", RECOVERY.pem), "--into", into,
    )  # fmt: skip
    assert told["device"] == "cam-7"
    assert not told["enrolled"]
    assert len(told["anchors"]) == len(told["broker_ca"]) == 1

    def issue(name: str, until_s: int) -> bytes:
        return authority.issue((console.folder / "device.csr").read_bytes(), until_s=until_s)

    chain = console.file("device.pem", issue("device", NOW_S + 1000))
    assert console.run("enrol", "finish", chain)["enrolled"]
    return issue


def test_a_device_is_enrolled_and_renews_its_certificate(console: Console) -> None:
    issue = enrolled(console)
    assert console.run("enrol", "show")["enrolled"]
    before = console.run("keys", "status")["enrolment"]["certificate"]
    console.run("enrol", "renew", "--into", str(console.folder))
    assert console.run("enrol", "show")["awaiting_certificate"]
    console.run("enrol", "finish", console.file("stranger.pem", Authority().pem), fails=1)
    assert "another key" in console.error
    console.run("enrol", "finish", console.file("device.pem", issue("device", NOW_S + 2000)))
    assert console.run("keys", "status")["enrolment"]["certificate"] != before


def test_the_state_goes_to_a_blank_board(console: Console, with_tpm: Console) -> None:
    enrolled(console)
    archive = str(console.folder / "export")
    assert console.run("keys", "export", archive)["files"] == 4  # the audit log is one
    console.run("keys", "export", archive, fails=1)
    key = console.file("recovery.key", RECOVERY.private_pem)
    restored = with_tpm.run("keys", "restore", archive, "--key", key)
    assert restored["protection"] == "tpm-sw"
    assert restored["enrolment"]["enrolled"]
    with_tpm.run("keys", "restore", archive, "--key", key, fails=1)
    assert "blank board" in with_tpm.error


def test_after_its_tpm_died_a_device_is_recovered(with_tpm: Console, tpm: Swtpm) -> None:
    enrolled(with_tpm)
    tpm.wipe()
    with_tpm.run("keys", "status", fails=1)
    assert "recover" in with_tpm.error
    key = with_tpm.file("recovery.key", RECOVERY.private_pem)
    assert with_tpm.run("keys", "recover", "--key", key)["enrolment"]["enrolled"]
    assert "tell the fleet" in with_tpm.error


def test_keys_move_into_a_tpm_that_came_later(console: Console, tpm: Swtpm) -> None:
    console.run("keys", "init")
    console.set(console.config.read_text().replace("device:/dev/none", tpm.tcti) + 'tpm = "required"\n')
    moved = console.run("keys", "init")
    assert (moved["protection"], moved["mode"]) == ("tpm-sw", "required")


def test_every_file_is_sealed_again_by_a_rotation(console: Console) -> None:
    console.run("keys", "init")
    arguments = _Arguments(console)
    with state.vault(arguments) as vault:  # type: ignore[arg-type] # as argparse would give it
        SealedFiles(vault, console.folder / "state").write("password", Purpose.SECRETS, [b"secret"])
    assert console.run("keys", "rotate", "--retire")["files"] == 1
    with state.vault(arguments) as vault:  # type: ignore[arg-type] # likewise
        assert (
            b"".join(SealedFiles(vault, console.folder / "state").read("password", Purpose.SECRETS))
            == b"secret"
        )


class _Arguments:
    def __init__(self, console: Console) -> None:
        self.config, self.state = str(console.config), None


def test_evidence_is_made_here_and_judged_elsewhere(with_tpm: Console, console: Console, tpm: Swtpm) -> None:
    measure(tpm.tcti, 7, bytes(32))
    with_tpm.run("keys", "init")
    public = console.file("attestation.pem", with_tpm.run("attest", "key")["pem"].encode())
    nonce, out = os.urandom(20).hex(), str(with_tpm.folder / "evidence")
    with_tpm.run("attest", "quote", "--nonce", nonce, "--pcr", "7", "--no-anchor", "--out", out)
    judge = ("attest", "verify", out, "--key", public, "--no-anchor")
    verdict = console.run(*judge, "--nonce", nonce, "--pcr", "7")
    assert verdict["trusted"]
    assert console.run(*judge, "--nonce", nonce, "--pcr", f"7={verdict['pcrs']['7']}")["trusted"]
    for changed, reason in (
        (("--nonce", os.urandom(20).hex()), "replayed"),
        (("--nonce", nonce, "--pcr", f"7={'00' * 32}"), "wrong-state"),
        (("--nonce", nonce, "--pcr", "0"), "wrong-selection"),
    ):
        assert console.run(*judge, *changed, fails=1)["reason"] == reason
    stranger = console.file("stranger.pem", FLEET.pem)
    refused = console.run(
        "attest", "verify", out, "--key", stranger, "--nonce", nonce, "--no-anchor", fails=1
    )
    assert refused["reason"] == "wrong-device"


def test_a_measured_state_is_approved_where_no_tpm_is(console: Console) -> None:
    key = console.file("approver.key", FLEET.private_pem)
    out = str(console.folder / "approval")
    assert console.run("attest", "approve", "--key", key, "--pcr", f"7={'ab' * 32}", "--out", out)[
        "pcrs"
    ] == [7]
    for wrong in ("7", "24=" + "ab" * 32, "7=zz", "7=ab"):
        console.run("attest", "approve", "--key", key, "--pcr", wrong, "--out", out, fails=1)
    console.run("attest", "approve", "--key", key, "--pcr", f"7={'00' * 32}", "--out", out, fails=1)
    assert "nothing is measured" in console.error


def test_a_secret_of_the_config_is_sealed_and_read_back_by_its_name_alone(console: Console) -> None:
    plain = console.file("password", b"correct horse\n")
    console.run("keys", "init")
    sealed = Path(console.run("keys", "seal", plain, "mqtt")["file"])
    assert "still lies open" in console.error
    assert sealed == console.folder / "state/secrets/mqtt.secrets.sealed"
    assert b"correct horse" not in sealed.read_bytes()
    assert base64.b64decode(console.run("keys", "unseal", "mqtt")["base64"]) == b"correct horse\n"
    assert console.run("keys", "rotate", "--retire")["files"] == 1
    assert base64.b64decode(console.run("keys", "unseal", "mqtt")["base64"]) == b"correct horse\n"
    sealed.rename(sealed.with_name("other.secrets.sealed"))
    console.run("keys", "unseal", "other", fails=1)
    assert "moved from another place" in console.error
    console.run("keys", "unseal", "none", fails=1)
    console.run("keys", "seal", plain, "../mqtt", fails=1)
    assert "no name for a secret" in console.error


def test_a_rotation_seals_spooled_records_again_before_it_retires_their_key(console: Console) -> None:
    console.run("keys", "init")
    arguments = _Arguments(console)

    async def used(*names: str) -> list[bytes]:
        with state.vault(arguments) as vault:  # type: ignore[arg-type] # as argparse would give it
            async with desk(console.folder / "state", VaultKeys(vault)) as d:
                for name in names:
                    await d.spool.put(record(name, payload=b'"seen"'))
                if not names:
                    await d.drain()
                return [item.payload for item in d.arrived]

    run_fast(used("one", "two"))
    assert console.run("keys", "rotate", "--retire")["records"] == 2
    assert run_fast(used()) == [b'"seen"', b'"seen"']
