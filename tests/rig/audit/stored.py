"""Logs on disk: a clock that stands where it is put, what is in the files, and whether they verify."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edged.audit import chain
from edged.audit.chain import Checkpoint, Event, Record
from edged.audit.config import AuditConfig
from edged.audit.segments import read, segments
from edged.audit.store import Store
from edged.audit.verdict import Verdict
from edged.audit.verify import Verifier
from edged.clock import BUILT_S, Clock

WALL_S = BUILT_S + 1e6
SMALL = AuditConfig(segment_max_bytes=65_536, keep_max_bytes=1_048_576)


@dataclass
class Board:
    """Its clocks."""

    wall_s: float = WALL_S
    uptime_s: float = 10.0
    synced: bool = True

    def clock(self) -> Clock:
        return Clock(
            BUILT_S, wall=lambda: self.wall_s, uptime=lambda: self.uptime_s, synced=lambda: self.synced
        )


def store(directory: Path, config: AuditConfig = SMALL, board: Board | None = None) -> Store:
    """An opened one."""
    opened = Store(directory, config, (board or Board()).clock())
    opened.open()
    return opened


def an_event(number: int, text: str = "face") -> Event:
    return Event("uid:1000", "models_activate", "allowed", {"name": text, "n": number})


def records(directory: Path) -> list[Record]:
    """Every whole record, in the order of the files."""
    return [Record.read(frame.body) for path in segments(directory) for frame in chain.frames(read(path))]


def numbers(directory: Path) -> list[int]:
    """The `n` of the events that are there, as `an_event` made them."""
    return [record.about["n"] for record in records(directory) if "n" in record.about]


def verify(
    directory: Path,
    opened: Callable[[bytes], bytes] | None = None,
    *,
    published: Iterable[Checkpoint] = (),
    anchor: bytes | None = None,
) -> Verdict:
    verifier = Verifier(opened, published)
    for path in segments(directory):
        verifier.take(path.name, read(path))
    return verifier.finish(anchor)
