"""Which model was being loaded when the process died, and whether the model is to blame.

An entry stands from before a model is loaded until its first successful invoke. One that is found at the next start
is a suspect: guilty at once if the process died of a fatal signal (Python's fault handler leaves a trace), or
nobody watched for one; guilty at the third time if it was merely ended (SIGKILL, out of memory, power cut), so that
an operator's `kill -9` does not cost a healthy model its place.

Entries are not fsynced: they outlive the process, and a power cut is not the model's doing.
"""

from __future__ import annotations

import contextlib
import faulthandler
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from edged.errors import StorageError

STRIKES = 3
TRACE_BYTES = 64 << 10


class Entry(msgspec.Struct, frozen=True):
    """A load under way."""

    name: str
    version: str
    variant: str
    strikes: int
    """Loads in a row, this one counted, that did not come to their end."""
    watched: bool
    """Whether a fatal signal would have left a trace."""


class Suspect(NamedTuple):
    """A load that the last process did not survive."""

    entry: Entry
    guilty: bool
    reason: str


class Journal:
    """The entries in one directory; the caller holds its own lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._trace_path = directory / "fatal"
        self._trace: IO[bytes] | None = None
        self._strikes: dict[tuple[str, str], int] = {}

    def settle(self) -> list[Suspect]:
        """Judge and remove what the last process left behind; called once, before the first load."""
        trace = self._last_trace()
        suspects = [_judge(entry, trace) for path in self._entries() if (entry := _read(path))]
        for path in [*self._entries(), self._trace_path]:
            path.unlink(missing_ok=True)
        self._strikes = {(s.entry.name, s.entry.version): s.entry.strikes for s in suspects if not s.guilty}
        return suspects

    def watch(self) -> None:
        """Let a fatal signal leave a trace here, for the next start to find."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._trace = self._trace_path.open("wb", buffering=0)
        faulthandler.enable(self._trace, all_threads=False)

    def unwatch(self) -> None:
        """Stop watching."""
        if self._trace:
            faulthandler.disable()
            self._trace.close()
            self._trace = None

    def begin(self, name: str, version: str, variant: str) -> None:
        """Note that a model is about to be loaded into this process; raises StorageError."""
        strikes = self._strikes.get((name, version), 0) + 1
        entry = Entry(name, version, variant, strikes, watched=self._trace is not None)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._path(name, version, variant).write_bytes(msgspec.json.encode(entry))
        except OSError as exc:
            raise StorageError(f"cannot note the load of {name} {version}: {exc.strerror}") from exc

    def end(self, name: str, version: str, variant: str) -> None:
        """Its first invoke succeeded, or its load was given up in good order."""
        self._strikes.pop((name, version), None)
        with contextlib.suppress(OSError):
            self._path(name, version, variant).unlink(missing_ok=True)

    def _path(self, name: str, version: str, variant: str) -> Path:
        return self._directory / f"{name}@{version}@{variant}.json"

    def _entries(self) -> list[Path]:
        return sorted(self._directory.glob("*.json"))

    def _last_trace(self) -> str:
        try:
            with self._trace_path.open("rb") as file:
                return file.read(TRACE_BYTES).decode(errors="replace")
        except OSError:
            return ""


def _judge(entry: Entry, trace: str) -> Suspect:
    loading = f"while variant {entry.variant} was loaded or first invoked"
    if trace:
        return Suspect(entry, True, f"the process died {loading}: {trace.splitlines()[0]}")
    if not entry.watched:
        return Suspect(entry, True, f"the process died {loading}")
    times = f"the process was ended {loading}, {entry.strikes} times in a row"
    return Suspect(entry, entry.strikes >= STRIKES, times)


def _read(path: Path) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except (OSError, msgspec.DecodeError):  # torn by a power cut: no evidence
        return None
