from itertools import pairwise
from pathlib import Path

import pytest

from edged import config
from edged.cli.reference import as_toml
from edged.errors import BadConfig


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "edged.toml"
    file.write_text(text)
    return file


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, "")) == config.Config()


def test_the_printed_defaults_are_a_config_that_means_the_defaults(tmp_path: Path) -> None:
    text = as_toml(config.Config)
    assert config.load(write(tmp_path, text)) == config.Config()
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
        for line in text.splitlines()
    )
    settings = [line for line in uncommented.splitlines() if line and not line.startswith(("#", "["))]
    assert len(settings) > 20
    assert config.load(write(tmp_path, uncommented)) == config.Config()


def test_every_setting_has_a_docstring() -> None:
    lines = as_toml(config.Config).splitlines()
    bare = [line for before, line in pairwise(lines) if " = " in line and not before.startswith("# ")]
    assert bare == []


def test_the_socket_lies_in_the_run_directory(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, '[paths]\nrun = "/tmp/x"\n'))
    assert loaded.socket == Path("/tmp/x/mcp.sock")  # noqa: S108 - a name, nothing is made there


def test_every_problem_is_reported_with_file_line_and_path(tmp_path: Path) -> None:
    file = write(tmp_path, '[paths]\nstate = "relative"\n[inference]\nthreads = 0\nruntim = "auto"\n')
    with pytest.raises(BadConfig) as caught:
        config.load(file)
    lines = caught.value.message.splitlines()
    assert lines[0].startswith(f"{file}: line 2: paths.state: expected `str` matching regex")
    assert lines[1] == f"{file}: line 4: inference.threads: expected `int` >= 1"
    assert lines[2].startswith(f"{file}: line 5: inference.runtim: unknown key; known here: ")


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a" * (config.FILE_MAX_BYTES + 1)])
def test_a_file_that_is_no_text_or_far_too_long_is_refused_by_name(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "edged.toml"
    file.write_bytes(raw)
    with pytest.raises(BadConfig, match=r"edged\.toml"):
        config.load(file)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        config.load(tmp_path / "no.toml")
