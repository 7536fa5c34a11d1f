from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import Rejected, TooLarge
from edged.inference import memfd

CONTENT = os.urandom((1 << 20) + 7)


@pytest.fixture(params=["bytes", "path", "descriptor"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[memfd.Source]:
    path = tmp_path / "model"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        sources: dict[str, memfd.Source] = {"bytes": CONTENT, "path": path, "descriptor": file.fileno()}
        yield sources[request.param]


def test_a_sealed_copy_is_whole_and_hashed_whatever_it_comes_from(source: memfd.Source) -> None:
    steps: list[int] = []
    sealed = memfd.seal(source, len(CONTENT), "model", progress=steps.append)
    assert sealed.read() == CONTENT
    assert (sealed.sha256, sealed.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert sum(steps) == len(CONTENT)
    sealed.close()


def test_reading_a_descriptor_leaves_its_offset_alone(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(CONTENT)
    fd = os.open(tmp_path / "model", os.O_RDONLY)
    os.lseek(fd, 5, os.SEEK_SET)
    memfd.seal(fd, len(CONTENT), "model").close()
    assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    os.close(fd)


def test_a_sealed_copy_can_be_neither_written_nor_cut_nor_grown() -> None:
    sealed = memfd.seal(b"model", 5, "model")
    for attack in (
        lambda: os.pwrite(sealed.fd, b"x", 0),
        lambda: os.ftruncate(sealed.fd, 0),
        lambda: os.ftruncate(sealed.fd, 9),
    ):
        with pytest.raises(PermissionError):
            attack()
    sealed.close()


def test_a_source_over_the_cap_is_too_large_and_leaks_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(TooLarge, match="model is larger than the cap of 4 bytes"):
        memfd.seal(b"model", 4, "model")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pipe_or_a_write_only_descriptor_is_rejected(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with pytest.raises(Rejected, match="not of a regular or memory file"):
        memfd.seal(reading, 4, "model")
    os.close(reading)
    os.close(writing)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(Rejected, match="cannot read model"):
        memfd.seal(fd, 4, "model")
    os.close(fd)
