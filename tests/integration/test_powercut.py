"""The simulation of power cuts itself: it loses what it should, and never what was synced."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.powercut import Fault, Log, Unsupported, record
from tests.rig.powercut.replay import Snapshot

SEEDS = range(40)
HEADER = "import mmap, os, shutil, sqlite3, subprocess, sys, threading\nfrom pathlib import Path\nfrom tests.rig.powercut import Fault, fail, note, room\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def run(root: Path, body: str, *faults: Fault) -> Log:
    script = f"{HEADER}os.chdir({str(root)!r})\n{textwrap.dedent(body)}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return record([sys.executable, "-c", script], root, env=environment, faults=faults)


def images(log: Log, at: int | None = None) -> Iterator[dict[str, bytes]]:
    for seed in SEEDS:
        yield {name: data for name, (_, data) in log.cut(at, seed).entries.items()}


def after(log: Log, noted: str) -> int:
    """The cut at which exactly this much had been noted."""
    return next(at for at in range(len(log) + 1) if noted in log.notes(at))


SYNC_DIRECTORY = "d = os.open('.', os.O_RDONLY); os.fsync(d); os.close(d)\n"


def test_a_write_without_fsync_can_be_lost_and_a_synced_one_never_is(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    log = run(root, "f = open('f', 'r+b', 0); f.write(b'new'); note('w'); os.fsync(f.fileno()); note('s')")
    unsynced = [image["f"] for image in images(log, after(log, "w"))]
    assert {b"old", b"new"} <= set(unsynced)
    assert {image["f"] for image in images(log)} == {b"new"}
    assert {image["f"] for image in images(log, 0)} == {b"old"}


def test_fdatasync_and_write_variants_are_seen(root: Path) -> None:
    body = """
    f = os.open('f', os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.write(f, b'one '); os.writev(f, [b'two ', b'three ']); os.close(f)
    f = os.open('f', os.O_RDWR)
    os.pwrite(f, b'ONE', 0); os.pwritev(f, [b'T', b'W'], 4); os.ftruncate(f, 9); os.fdatasync(f)
    """
    log = run(root, body + SYNC_DIRECTORY)
    assert [image["f"] for image in images(log)] == [b"ONE TWo t"] * len(SEEDS)


def test_a_large_write_can_be_torn_at_a_sector(root: Path) -> None:
    (root / "f").write_bytes(b"o" * 4096)
    log = run(root, "f = open('f', 'r+b', 0); f.write(b'n' * 4096)")
    found = {image["f"] for image in images(log)}
    assert any(b"o" in data and b"n" in data for data in found)
    for data in found:
        for start in range(0, 4096, 512):
            assert len(set(data[start : start + 512])) == 1


def test_later_writes_can_survive_earlier_ones(root: Path) -> None:
    (root / "f").write_bytes(b"..")
    log = run(root, "f = open('f', 'r+b', 0); f.write(b'a'); f.write(b'b')")
    assert {image["f"] for image in images(log)} == {b"..", b"a.", b".b", b"ab"} | {
        b"\0.",
        b".\0",
        b"a\0",
        b"\0b",
    }


def test_a_new_name_is_lost_without_fsync_of_its_directory_even_if_its_data_is_synced(root: Path) -> None:
    log = run(
        root, "f = open('f', 'wb', 0); f.write(b'x'); os.fsync(f.fileno()); note('f')\n" + SYNC_DIRECTORY
    )
    assert {image.get("f") for image in images(log, after(log, "f"))} == {None, b"x"}
    assert {image.get("f") for image in images(log)} == {b"x"}


def test_a_rename_without_fsync_of_the_directory_can_be_undone_and_is_atomic(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    body = "f = open('t', 'wb', 0); f.write(b'new'); os.fsync(f.fileno()); os.rename('t', 'f'); note('r')\n"
    log = run(root, body + SYNC_DIRECTORY)
    assert {image["f"] for image in images(log, after(log, "r"))} == {b"old", b"new"}
    assert all(
        ("t" in image) == (image["f"] == b"old") for image in images(log, after(log, "r")) if image.get("t")
    )
    assert {image["f"] for image in images(log)} == {b"new"}


def test_a_rename_of_a_file_that_was_not_synced_can_leave_nothing_in_it(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    log = run(root, "open('t', 'wb', 0).write(b'new'); os.replace('t', 'f')\n" + SYNC_DIRECTORY)
    assert {b"", b"new"} <= {image["f"] for image in images(log)}


def test_a_removed_file_can_come_back(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    log = run(root, "os.unlink('f')")
    assert {image.get("f") for image in images(log)} == {None, b"old"}


def test_an_fsync_that_failed_is_not_made_good_by_the_next_one(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    body = """
    f = os.open('f', os.O_RDWR)
    os.write(f, b'new')
    try:
        os.fsync(f)
    except OSError as exc:
        note(str(exc.errno))
    os.fsync(f)
    """
    log = run(root, body, Fault("EIO", "sync"))
    assert log.notes() == ["5"]
    assert {b"old", b"new"} <= {image["f"] for image in images(log)}


def test_a_full_disk_a_short_write_and_faults_that_end(root: Path) -> None:
    body = """
    f = os.open('f', os.O_RDWR | os.O_CREAT)
    for text in (b'aa', b'bb', b'cc'):
        try:
            note(str(os.write(f, text)))
        except OSError as exc:
            note(os.strerror(exc.errno))
    fail(); note(str(os.write(f, b'dd')))
    """
    log = run(root, body, Fault("HALF", "write", 1), Fault("ENOSPC", "write", 2, -1))
    assert log.notes() == ["1", "No space left on device", "No space left on device", "2"]
    assert (root / "f").read_bytes() == b"add"


def test_a_disk_fills_up_takes_what_makes_no_file_longer_and_has_room_for_what_is_removed(root: Path) -> None:
    (root / "f").write_bytes(b"....")
    (root / "g").write_bytes(b"....")
    body = """
    room(1)
    f = os.open('f', os.O_RDWR)
    def write(at, text):
        try:
            note(str(os.pwrite(f, text, at)))
        except OSError as exc:
            note(os.strerror(exc.errno))
    write(0, b'ab'); write(2, b'cde'); write(5, b'fgh'); write(2, b'cd')
    os.unlink('g')
    write(5, b'fghi'); write(9, b'j'); os.ftruncate(f, 8); write(8, b'z'); write(9, b'j')
    """
    full = "No space left on device"
    assert run(root, body).notes() == ["2", "3", full, "2", "4", full, "1", full]
    assert (root / "f").read_bytes() == b"abcdefghz"


def test_a_kill_comes_before_its_operation(root: Path) -> None:
    log = run(root, "open('a', 'w'); note('a'); open('b', 'w'); note('b')", Fault("KILL", "name", 2))
    assert log.returncode == -9
    assert log.notes() == ["a"]
    assert [path.name for path in root.iterdir()] == ["a"]


EVERYTHING = """
os.mkdir('d'); Path('d/f').write_bytes(os.urandom(70000)); shutil.copy2('d/f', 'd/g')
shutil.copytree('d', 'e'); os.link('d/f', 'e/hard'); os.symlink('../d/f', 'e/soft'); os.replace('e/f', 'd/h')
Path('d/h').chmod(0o640); os.truncate('d/g', 100); os.rename('e', 'moved'); os.unlink('d/g')
d = os.open('d', os.O_RDONLY); os.rename('h', 'i', src_dir_fd=d, dst_dir_fd=d)
f = os.open('new', os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=d); os.write(f, b'x' * 1000); os.dup2(f, 77); os.write(77, b'y')
shutil.copytree('moved', 'gone', symlinks=True); shutil.rmtree('gone')
threads = [threading.Thread(target=lambda n=n: Path(f't{n}').write_bytes(b'z' * n * 999)) for n in range(5)]
[t.start() for t in threads]; [t.join() for t in threads]
subprocess.run([sys.executable, '-c', 'import os; open("child", "w").write("c"); os.posix_fallocate(os.open("child", 2), 0, 9)'])
base = sqlite3.connect('base'); base.execute('PRAGMA journal_mode=WAL'); base.execute('CREATE TABLE t (a)')
base.executemany('INSERT INTO t VALUES (?)', [(os.urandom(500),) for _ in range(50)]); base.commit(); base.close()
"""


def test_the_replay_of_everything_is_what_the_kernel_has(root: Path) -> None:
    log = run(root, EVERYTHING)
    assert log.returncode == 0, log.output
    there = Snapshot.of(root).entries
    assert {"d/i", "moved/soft", "t4", "child", "base"} <= there.keys()
    for name, (mode, data) in log.whole().entries.items():
        kept = there.pop(name)
        assert (stat.filemode(mode), data) == (stat.filemode(kept[1]), kept[2]), name
    assert list(there) == ["."]


def test_every_cut_of_it_can_be_written_down(root: Path, tmp_path: Path) -> None:
    log = run(root, EVERYTHING)
    for at in range(0, len(log), 7):
        image = log.cut(at, seed=at)
        written = image.write(tmp_path / str(at))
        assert Snapshot.of(written).entries.keys() - {"."} == image.entries.keys()
        assert log.cut(at, seed=at) == image


TABLE = """
base = sqlite3.connect('base', isolation_level=None)
base.execute('PRAGMA journal_mode=WAL'); base.execute('PRAGMA synchronous={}'); base.execute('PRAGMA wal_autocheckpoint=4')
base.execute('CREATE TABLE t (a)')
for n in range(12):
    base.execute('INSERT INTO t VALUES (?)', (n,)); note(str(n))
"""


def rows(log: Log, at: int, seed: int, folder: Path) -> int:
    log.cut(at, seed).write(folder)
    base = sqlite3.connect(folder / "base")
    try:
        return int(base.execute("SELECT count(*) FROM t").fetchone()[0]) if log.notes(at) else 0
    finally:
        base.close()


def test_sqlite_keeps_what_it_committed_with_synchronous_full_at_every_cut(
    root: Path, tmp_path: Path
) -> None:
    log = run(root, TABLE.format("FULL"))
    for at in range(0, len(log) + 1, 2):
        assert rows(log, at, at % 7, tmp_path / f"{at}") >= len(log.notes(at))


def test_sqlite_loses_what_it_committed_without_fsync(root: Path, tmp_path: Path) -> None:
    log = run(root, TABLE.format("NORMAL").replace("autocheckpoint=4", "autocheckpoint=0"))
    assert rows(log, len(log), 1, tmp_path / "kept") == 12
    (root.parent / "cut").mkdir()
    begun = after(log, "0")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows(log, begun, 0, tmp_path / "cut")


@pytest.mark.parametrize(
    "body",
    [
        "f = open('f', 'w+b'); f.write(b'x' * 4096); f.flush(); mmap.mmap(f.fileno(), 4096)[0:1] = b'y'",
        "os.rename('../outside', 'inside')",
    ],
)
def test_what_cannot_be_replayed_is_refused(root: Path, body: str) -> None:
    (root.parent / "outside").touch()
    with pytest.raises(Unsupported):
        run(root, body)


def test_what_lies_beside_the_root_is_not_recorded(root: Path) -> None:
    log = run(
        root,
        "open('../rooted', 'w').write('x'); os.rename('../rooted', '../rooting')",
        Fault("EIO", "any", 1, -1),
    )
    assert (log.returncode, len(log)) == (0, 0)
