"""A simulated board: a tree of sysfs files in a folder, changed by writing, and a box in which all programs see it.

`python -m tests.rig.board FOLDER -- COMMAND` runs a command where /sys and /proc show the folder: a private mount namespace
(with a user namespace when not root), so the real psutil reads it and nothing of the machine changes.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.rig.board_trees import PSI, TREES, memory

CLASSES = ("thermal", "hwmon", "power_supply")
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
LIBC = ctypes.CDLL(None, use_errno=True)


class Board:
    """The files of one board below `root`."""

    def __init__(self, root: Path, tree: str | Mapping[str, str]) -> None:
        self.root = root
        for path, text in (TREES[tree] if isinstance(tree, str) else tree).items():
            self.write(path, text)
        for name in CLASSES:
            (root / "sys/class" / name).mkdir(parents=True, exist_ok=True)

    def write(self, path: str, text: str) -> None:
        """Make an attribute say something else, in place: descriptors stay good, as in sysfs."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def heat(self, celsius: float, name: str = "cpu") -> None:
        """Set every temperature of the die that is called so, in the zone and in hwmon alike."""
        text = f"{round(celsius * 1000)}\n"
        for kind in self.root.glob("sys/class/thermal/thermal_zone*/type"):
            if kind.read_text().lower().startswith(name):
                self.write(str(kind.with_name("temp").relative_to(self.root)), text)
        for kind in self.root.glob("sys/class/hwmon/hwmon*/name"):
            if kind.read_text().startswith((name, "coretemp")):
                self.write(str(kind.with_name("temp1_input").relative_to(self.root)), text)

    def vanish(self, pattern: str) -> None:
        """Take files away, as when a driver is unbound."""
        for path in self.root.glob(pattern):
            path.write_text("")  # what an open descriptor sees, too: sysfs answers ENODEV there
            path.unlink()

    def memory(self, available_kb: int, some_pct: float = 0.0) -> None:
        """Set how much memory is left, and how long tasks wait for it."""
        for path, text in (memory(available_kb) | {"proc/pressure/memory": PSI.format(some_pct)}).items():
            self.write(path, text)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command in the box."""
        return [sys.executable, "-m", "tests.rig.board", str(self.root), "--", *command]


def enter(root: Path) -> None:
    """Make this process see the board; only before any thread is started."""
    _unshare()
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    work = Path(tempfile.mkdtemp(prefix="board-"))
    _mount("tmpfs", str(work), "tmpfs")
    _classes(root, work)
    _cpufreq(root, work)
    if (tree := root / "sys/firmware/devicetree/base").is_dir():
        _mount("tmpfs", "/sys/firmware", "tmpfs", data="mode=755")
        Path("/sys/firmware/devicetree/base").mkdir(parents=True)
        _mount(str(tree), "/sys/firmware/devicetree/base", flags=MS_BIND)
    for name in ("pressure/cpu", "pressure/memory", "pressure/io", "meminfo"):
        if (root / "proc" / name).exists() and Path("/proc", name).exists():
            _mount(str(root / "proc" / name), f"/proc/{name}", flags=MS_BIND)


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if uid:
        maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
        for name, text in maps.items():
            Path("/proc/self", name).write_text(text)


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}")


def _classes(root: Path, work: Path) -> None:
    """A tmpfs over /sys/class that binds the real classes back: sysfs itself takes no new folders."""
    real = work / "class"
    real.mkdir()
    _mount("/sys/class", str(real), flags=MS_BIND | MS_REC)
    _mount("tmpfs", "/sys/class", "tmpfs", data="mode=755")
    for name in {*os.listdir(real), *CLASSES}:
        Path("/sys/class", name).mkdir()
        source = root / "sys/class" / name if name in CLASSES else real / name
        _mount(str(source), f"/sys/class/{name}", flags=MS_BIND)


def _cpufreq(root: Path, work: Path) -> None:
    """Likewise for the one policy that all CPUs share."""
    if not (policies := root / "sys/devices/system/cpu/cpufreq").is_dir():
        return
    real = work / "cpu"
    real.mkdir()
    _mount("/sys/devices/system/cpu", str(real), flags=MS_BIND | MS_REC)
    _mount("tmpfs", "/sys/devices/system/cpu", "tmpfs", data="mode=755")
    for entry in real.iterdir():
        target = Path("/sys/devices/system/cpu", entry.name)
        if entry.name != "cpufreq":
            target.mkdir() if entry.is_dir() else target.touch()
            _mount(str(entry), str(target), flags=MS_BIND)
    target = Path("/sys/devices/system/cpu/cpufreq")
    target.mkdir()
    _mount(str(policies), str(target), flags=MS_BIND)


if __name__ == "__main__":
    enter(Path(sys.argv[1]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - the command is the caller's own
