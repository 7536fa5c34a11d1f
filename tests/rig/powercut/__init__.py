"""Power cuts that really forget what was not fsynced: record a program's disk, then see it as it could be afterwards.

    log = record([sys.executable, "-m", "tests.rig.something", str(root)], root)
    for at in range(len(log) + 1):                 # before the first change, after each, after the last
        acknowledged = log.notes(at)               # what the program had said by then, see `note`
        log.cut(at, seed=3).write(fresh)           # a new directory: start the program there again and look

A small library (`shim.c`, compiled with `cc` at first use) is preloaded into the program and its children. It logs every
change below `root` with its data, in order over threads and processes. A SIGKILL loses nothing of the page cache,
and so proves nothing; the log is replayed instead, by the strictest reading of POSIX that file systems keep to:

- what was in `root` when the recording began is on the disk;
- a file's data is on the disk after fsync or fdatasync of the file. Each later write and truncation is kept, dropped, or
  torn at sectors of 512 bytes, each by the seed, whatever their order; a file may have grown with zeros in it;
- a name (created, linked, removed, renamed) is on the disk after fsync of its directory, and not by fsync of the file.
  Later ones are kept in order up to some point, by the seed; a rename is atomic, and settled by its new directory;
- after an fsync that failed, what it was for is kept or lost whatever later ones say (as Linux drops the dirty mark).

Seed 0 keeps nothing that was not fsynced, seed 1 everything (a mere kill), the others choose. Equal seeds give
equal images. chmod is kept at once; owners and times are not looked at; a read after a write sees it, as always.

`Fault`s fail chosen operations below the root: an I/O error, no space, a short write, a kill. In a program that is
recorded, `note` writes down what it did for whom (an acknowledgement, say), `fail` sets its faults anew, and `room`
lets the disk fill up.

For hundreds of short lives: `restart_with_shim` at the top of main, then `live(root, function)` for each, which forks.
For a program that somebody else starts: `Recording(root)`, its `environment` for the program, then its `log()`.

Not seen: what a C library writes through stdio or mkstemp of its own, and mapped memory; opening one below the
root for writing is noticed and refused (`Unsupported`), except SQLite's `-shm`, which is made anew at every start.
Needs a process whose libc is shared (every CPython of a distribution); the recorded fsyncs cost no disk time.
"""

from __future__ import annotations

from tests.rig.powercut.recording import (
    Fault,
    Recording,
    fail,
    live,
    note,
    record,
    restart_with_shim,
    room,
)
from tests.rig.powercut.replay import Image, Log, Unsupported

__all__ = [
    "Fault",
    "Image",
    "Log",
    "Recording",
    "Unsupported",
    "fail",
    "live",
    "note",
    "record",
    "restart_with_shim",
    "room",
]
