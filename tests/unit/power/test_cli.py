from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.cli.main import main
from tests.rig.board import Board


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose board is an Orin Nano that lies in files."""
    Board(tmp_path / "root", "jetson-orin-nano")
    file = tmp_path / "edged.toml"
    file.write_text(f'[paths]\nstate = "{tmp_path}"\n[power]\nroot = "{tmp_path}/root"\n')
    return file


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(capsys.readouterr().out)
    return answer


def test_show_names_the_profile_why_it_matched_and_the_source_of_each_figure(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hardware", "show", "--config", str(config), "--json"]) == 0
    answer = said(capsys)
    assert (answer["board"], answer["matched_by"]) == (
        "jetson-orin-nano",
        "device tree: nvidia,p3768-0000+p3767-0005",
    )
    assert answer["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    facts = {fact["fact"]: fact for fact in answer["facts"]}
    assert facts["throttle_c"]["value"] == 99
    assert facts["throttle_c"]["source"].startswith("https://github.com/torvalds/linux/")


def test_probe_tells_what_was_read_what_governs_and_what_was_not_found(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hardware", "probe", "--config", str(config), "--json"]) == 0
    answer = said(capsys)
    readings = {one["reading"]: one for one in answer["readings"]}
    assert readings["heat.cpu-thermal"]["value"] == pytest.approx(49.312)
    assert readings["heat.cv0-thermal"]["note"] == "powered down"
    governing = {one["reading"]: one for one in answer["governing"]}
    assert governing["heat.tj-thermal"]["required"] is True
    assert governing["heat.cv0-thermal"]["required"] is False
    assert any(line.startswith("battery.reserve: ") for line in answer["not_found"])


@pytest.mark.parametrize("action", [["show"], ["show", "--all"], ["probe"]])
def test_tables_are_for_people(action: list[str], config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware", *action, "--config", str(config)]) == 0
    assert "jetson-orin-nano" in capsys.readouterr().out


def test_a_board_that_does_not_exist_is_refused_with_those_that_do(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[power]\nboard = "toaster"\n')
    assert main(["hardware", "probe", "--config", str(config)]) == 2
    assert "power.board: no 'toaster'; there are: " in capsys.readouterr().err
