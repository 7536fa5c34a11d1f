"""`edged audit` on a log that a vault has vouched for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edged.audit import chain
from edged.audit.segments import segments
from edged.audit.store import Store
from edged.cli.main import main
from edged.keys.config import KeysConfig
from edged.keys.opening import Keyplace
from edged.keys.vault import Vault
from tests.rig.audit.stored import an_event, store


class Noted:
    """The keys' notes go nowhere here."""

    def note(self, event: str, fields: object) -> None:
        pass


class Case(NamedTuple):
    """A log of 40 records, its device's public key, and two checkpoints that were published."""

    audit: Path
    key: Path
    published: list[Path]
    vault: Vault


def vouch(log: Store, vault: Vault, to: Path) -> Path:
    signed = vault.sign("audit", log.checkpoint({}).payload())
    log.add_checkpoint(signed)
    vault.extend(log.standing.folded)
    to.write_bytes(signed)
    return to


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    (tmp_path / "state").mkdir()
    vault = Keyplace(tmp_path / "state" / "keys", KeysConfig(tpm="off"), Noted()).open_or_make()
    log = store(tmp_path / "audit")
    published = []
    for number in range(37):
        log.append([an_event(number)])
        if number in (10, 30):
            published.append(vouch(log, vault, tmp_path / f"{number}.cose"))
    log.close()
    pem = base64.encodebytes(vault.identity).decode()
    key = tmp_path / "device.pem"
    key.write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
    yield Case(tmp_path / "audit", key, published, vault)
    vault.close()


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main([str(word) for word in ("audit", *words)])
    said = capsys.readouterr()
    return code, said.out + said.err


def verdict(capsys: pytest.CaptureFixture[str], case: Case, *words: object) -> tuple[int, dict[str, Any]]:
    code, said = run(capsys, "verify", "--dir", case.audit, "--json", *words)
    return code, json.loads(said)


def test_an_untouched_log_verifies_against_key_published_checkpoints_and_anchor(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = [word for path in case.published for word in ("--checkpoint", path)]
    code, said = verdict(capsys, case, "--key", case.key, "--anchor", case.vault.anchor().hex(), *checkpoints)
    assert code == 0
    assert (said["intact"], said["records"], said["checkpoints"], said["signatures"]) == (
        True,
        40,
        2,
        "checked",
    )


def test_a_changed_log_has_an_exit_code_of_its_own_and_the_record_is_named(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = segments(case.audit)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    code, said = verdict(capsys, case)
    assert code == 3
    assert [finding["kind"] for finding in said["findings"]] == ["damaged"]
    code, text = run(capsys, "verify", "--dir", case.audit)
    assert code == 3
    assert f"record {said['findings'][0]['first']} is damaged" in text


def test_an_older_copy_is_noticed_with_a_published_checkpoint(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = segments(case.audit)
    frames = list(chain.frames(path.read_bytes()))
    path.write_bytes(path.read_bytes()[: frames[19].end])
    assert verdict(capsys, case, "--key", case.key)[0] == 0
    code, said = verdict(capsys, case, "--key", case.key, "--checkpoint", case.published[1])
    assert code == 3
    assert [finding["kind"] for finding in said["findings"]] == ["cut"]


def test_checkpoints_of_another_device_are_named(
    case: Case, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Keyplace(tmp_path / "other" / "keys", KeysConfig(tpm="off"), Noted()).open_or_make()
    (tmp_path / "other.der").write_bytes(other.identity)
    other.close()
    code, said = verdict(capsys, case, "--key", tmp_path / "other.der")
    assert code == 3
    assert {finding["kind"] for finding in said["findings"]} == {"forged"}
    code, text = run(capsys, "verify", "--dir", case.audit, "--key", tmp_path / "other.der",
                     "--checkpoint", case.published[0])  # fmt: skip
    assert code == 1
    assert "--checkpoint" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--key", "README.md"], "holds no public key"),
        (["--key", "/none"], "no such file"),
        (["--checkpoint", "README.md"], "not a COSE_Sign1"),
        (["--anchor", "ab"], "64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_used_is_said(
    case: Case, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    code, text = run(capsys, "verify", "--dir", case.audit, *words)
    assert (code, says in text) == (1, True)


def test_a_place_without_a_log_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (tmp_path, tmp_path / "none"):
        assert run(capsys, "verify", "--dir", place) == (1, f"edged: no audit log in {place}\n")


def test_the_tail_is_shown_to_people_and_programs(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, text = run(capsys, "tail", "--dir", case.audit, "--lines", 2)
    assert code == 0
    assert "models_activate" in text
    code, text = run(capsys, "tail", "--dir", case.audit, "--lines", 2, "--json")
    assert [record["about"]["n"] for record in json.loads(text)["records"]] == [35, 36]


def test_records_are_exported_one_a_line(
    case: Case, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = run(capsys, "export", "--dir", case.audit, "--first", 1, "--last", 3)
    assert code == 0
    assert [json.loads(line)["seq"] for line in text.splitlines()] == [1, 2, 3]
    assert run(capsys, "export", "--dir", case.audit, "--output", tmp_path / "log.jsonl") == (0, "")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 40
