"""Runs a program with the shim in it; see the package's docstring."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from tests.rig.powercut.replay import Log, Snapshot

_SOURCE = Path(__file__).with_name("shim.c")
_CACHE = Path(__file__).parents[3] / ".cache" / "powercut"


class Fault(NamedTuple):
    """What goes wrong below the root: from the `first`-th operation (from 1) on, `times` times (-1: for good).

    `ENOSPC` fails any write, which is worse than a full disk (see `room`). `HALF` writes half of what it was given; `KILL`
    is SIGKILL instead of the operation. `write` counts truncations too, `name` is whatever makes, renames or removes a
    name, `any` counts all of them together.
    """

    error: Literal["ENOSPC", "EIO", "HALF", "KILL"]
    operation: Literal["write", "sync", "name", "any"]
    first: int = 1
    times: int = 1


class Recording:
    """One program's disk, recorded from now on. What lies below `root` now is what is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._before = Snapshot.of(self.root)
        handle, name = tempfile.mkstemp(prefix="powercut-")
        os.close(handle)
        self.path = Path(name)
        """Where the log is written; `close` removes it."""

    def environment(self, faults: Iterable[Fault] = ()) -> dict[str, str]:
        """What the program's environment needs besides its own."""
        preload = " ".join(filter(None, (str(shim()), os.environ.get("LD_PRELOAD", ""))))
        return {
            "LD_PRELOAD": preload,
            "POWERCUT_ROOT": str(self.root),
            "POWERCUT_LOG": str(self.path),
            "POWERCUT_FAULTS": _spec(faults),
        }

    def log(self, returncode: int | None = None, output: str = "") -> Log:
        """What has happened so far; raises Unsupported."""
        return Log(self._before, self.path.read_bytes(), returncode=returncode, output=output)

    def close(self) -> None:
        """Remove the log's file."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def record(
    argv: Sequence[str],
    root: Path,
    *,
    env: Mapping[str, str] | None = None,
    faults: Iterable[Fault] = (),
    timeout_s: float = 60.0,
) -> Log:
    """Run a program to its end and give what it did below `root`. Raises Unsupported, TimeoutExpired."""
    with Recording(root) as recording:
        done = subprocess.run(
            argv,
            env={**(os.environ if env is None else env), **recording.environment(faults)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        return recording.log(done.returncode, done.stdout.decode(errors="replace"))


def restart_with_shim() -> None:
    """Make this process one that can `live`: where it is none yet, start it again, as it was started."""
    if _loaded() is None:
        environment = {**os.environ, "LD_PRELOAD": str(shim())}
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606 - itself


def live(root: Path, function: Callable[[], object], faults: Iterable[Fault] = ()) -> Log:
    """Run `function` in a forked child, recorded; its exit status is 0, 1 where it raised, or the signal's.

    The caller is a process with the shim in it and with one thread. What the child raises is printed by it.
    """
    library = _loaded()
    assert library is not None, "call restart_with_shim first"
    with Recording(root) as recording:
        child = os.fork()
        if child == 0:
            _be_recorded(library, recording, function, faults)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return recording.log(status)


def _be_recorded(
    library: ctypes.CDLL, recording: Recording, function: Callable[[], object], faults: Iterable[Fault]
) -> None:
    status = 1
    try:
        begun = library.powercut_begin(
            os.fsencode(recording.root), os.fsencode(recording.path), _spec(faults).encode()
        )
        assert begun == 0, "cannot write the log"
        function()
        status = 0
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def note(text: str) -> None:
    """In a recorded program: write `text` into the log, after all that has happened. Elsewhere: nothing."""
    library, said = _loaded(), text.encode()
    if library is not None:
        library.powercut_note(said, len(said))


def fail(*faults: Fault) -> None:
    """In a recorded program: these faults instead of the present ones, counting from here; none ends them."""
    library = _loaded()
    if library is not None:
        library.powercut_faults(_spec(faults).encode())


def room(size: int | None) -> None:
    """In a recorded program: let files grow by so many bytes more in all, as a disk that is nearly full; None: any.

    What is removed or cut short gives its bytes back, and what makes no file longer is always written.
    """
    library = _loaded()
    if library is not None:
        library.powercut_room(-1 if size is None else size)


@cache
def shim() -> Path:
    """The compiled library; once for each state of its source."""
    source = _SOURCE.read_bytes()
    built = _CACHE / f"{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not built.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            fresh = Path(folder) / built.name
            options = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
            subprocess.run(["cc", *options, "-o", fresh, _SOURCE, "-ldl"], check=True)
            fresh.replace(built)
    return built.resolve()


@cache
def _loaded() -> ctypes.CDLL | None:
    """The shim, where it is in this process."""
    library = ctypes.PyDLL(None)
    if not hasattr(library, "powercut_note"):
        return None
    library.powercut_note.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.powercut_note.restype = None
    library.powercut_faults.argtypes = [ctypes.c_char_p]
    library.powercut_faults.restype = None
    library.powercut_room.argtypes = [ctypes.c_longlong]
    library.powercut_room.restype = None
    library.powercut_begin.argtypes = [ctypes.c_char_p] * 3
    return library


def _spec(faults: Iterable[Fault]) -> str:
    return " ".join(f"{f.error}:{f.operation}:{f.first}:{f.times}" for f in faults)
