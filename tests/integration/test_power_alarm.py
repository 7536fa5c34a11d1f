"""An alarm shorter than a sample interval: the kernel tells, a thread hears, the loop looks at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

from edged.power.sampler import Bell
from edged.power.sources.alarm import Undervoltage, Watch
from tests.rig.board import Board

IN_A_NAMESPACE = """
import ctypes, os, sys, threading
from pathlib import Path
from edged.power.sources.alarm import Watch

NEWUTS, NEWUSER = 0x04000000, 0x10000000
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(NEWUTS | (NEWUSER if os.getuid() else 0)) == 0, os.strerror(ctypes.get_errno())

def says(text):
    assert libc.sethostname(text, len(text)) == 0, os.strerror(ctypes.get_errno())

says(b"0")
rang = threading.Semaphore(0)
watch = Watch(Path("/proc/sys/kernel/hostname"), rang.release)
assert not watch.take()
for _ in range(3):
    says(b"1")
    assert rang.acquire(timeout=10)
    says(b"0")
    assert watch.take()
    while rang.acquire(blocking=False):  # the kernel may tell twice of one change
        watch.take()
watch.close()
print("heard")
"""


def test_a_notification_of_the_kernel_is_heard_even_when_the_value_is_back() -> None:
    """The host name is the one attribute that any machine notifies of as sysfs does; in a namespace of its own."""
    made = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.stdout == "heard\n", made.stderr


def test_an_alarm_that_is_on_at_the_start_rings(tmp_path: Path) -> None:
    (tmp_path / "alarm").write_text("1\n")
    rang = threading.Event()
    watch = Watch(tmp_path / "alarm", rang.set)
    assert rang.wait(10)
    assert watch.take()
    assert not watch.take()
    watch.close()


def test_a_board_without_the_driver_has_no_watch_and_no_thread(tmp_path: Path) -> None:
    Board(tmp_path, "raspberry-pi-zero-2-w")
    before = threading.active_count()
    source = Undervoltage(tmp_path)
    assert source.read(0.0) == []
    assert threading.active_count() == before
    source.close()


def test_a_watch_ends_while_it_waits(tmp_path: Path) -> None:
    Board(tmp_path, "raspberry-pi-4")
    source = Undervoltage(tmp_path)
    source.read(0.0)
    assert any(thread.name == "under-voltage" for thread in threading.enumerate())
    source.close()
    assert not any(thread.name == "under-voltage" for thread in threading.enumerate())


def test_the_bell_ends_a_wait_from_another_thread() -> None:
    async def run() -> None:
        bell = Bell()
        waiting = asyncio.get_running_loop().create_task(bell.wait(3600))
        await asyncio.sleep(0)
        threading.Thread(target=bell.ring).start()
        await waiting

    asyncio.run(run())
