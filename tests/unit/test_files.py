from __future__ import annotations

import os
from pathlib import Path

import pytest

from edged.errors import NotFound, Rejected, StorageError, TooLarge
from edged.files import atomic_write, read_capped, trusted


def test_an_atomic_write_replaces_the_whole_content_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state"
    atomic_write(path, b"old and longer")
    atomic_write(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_a_write_that_fails_keeps_the_old_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()  # a file cannot replace a directory
    with pytest.raises(StorageError, match="cannot write"):
        atomic_write(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_reading_stops_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_capped(path, 5) == b"12345"
    with pytest.raises(TooLarge, match="larger than 4 bytes"):
        read_capped(path, 4)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_capped(tmp_path / "none", 1)


def test_a_pipe_in_place_of_a_file_is_rejected_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Rejected, match="not a regular file"):
        read_capped(tmp_path / "pipe", 1)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o755)
    file = directory / "code.so"
    file.write_bytes(b"")
    file.chmod(0o644)
    return file


def test_a_file_of_ours_in_a_directory_of_ours_is_trusted(ours: Path) -> None:
    assert trusted(ours)


def test_a_sticky_directory_above_is_trusted_but_a_writable_one_is_not(ours: Path) -> None:
    ours.parent.chmod(0o1777)
    assert trusted(ours)
    ours.parent.chmod(0o777)
    assert not trusted(ours)


def test_a_root_bounds_how_far_up_trust_is_asked(ours: Path) -> None:
    ours.parent.parent.chmod(0o777)
    assert not trusted(ours)
    assert trusted(ours, ours.parent)
    assert not trusted(ours, ours.parent / "elsewhere")


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_file_others_may_write_is_not_trusted(ours: Path, mode: int) -> None:
    ours.chmod(mode)
    assert not trusted(ours)


def test_a_link_is_trusted_as_far_as_its_target_and_every_step_to_it(ours: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.so"
    link.symlink_to(ours)
    assert trusted(link)
    ours.parent.chmod(0o777)
    assert not trusted(link)


def test_links_in_a_circle_and_missing_files_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert not trusted(tmp_path / "a")
    assert not trusted(tmp_path / "none")


def test_a_path_through_dots_is_judged_where_it_leads(ours: Path) -> None:
    assert trusted(ours.parent / ".." / "ours" / "code.so")
