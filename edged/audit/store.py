"""A log on disk: appended to by one owner, taken up again after a power cut, and never without room for what matters.

For one thread. Whatever is in the directory, `open` opens; what it had to leave out stands in the log.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from edged.audit import chain
from edged.audit.chain import MAGIC, OURSELVES, PRUNED, SEGMENT, Checkpoint, Event, Record
from edged.audit.config import AuditConfig
from edged.audit.segments import Reserve, Segment, beginning, is_full, read, segments
from edged.audit.standing import Scan, Standing, scan, with_leaves
from edged.clock import Clock, Instant, stepped_s
from edged.errors import Rejected, StorageError
from edged.files import sync_directory, write_synced

RECOVERED = "audit.recovered"
"""What a power cut or a damage left at the end of the log was cut off."""
DAMAGED = "audit.damaged"
"""Records in the last file cannot be read, and later ones can."""


class Store:
    """See the module. Raises StorageError where the disk refuses, and then nothing was appended."""

    def __init__(self, directory: Path, config: AuditConfig, clock: Clock) -> None:
        self._directory, self._config, self._clock = directory, config, clock
        self._reserve = Reserve(directory)
        self._standing = Standing()
        self._segment: Segment | None = None
        self._begun: Path | None = None
        """A file whose beginning failed: nothing is written while it may be there."""
        self._last: Instant | None = None
        self._lock: int | None = None

    @property
    def standing(self) -> Standing:
        """Where the log stands."""
        return self._standing

    @property
    def reserved(self) -> bool:
        """Whether there is still room for what must be recorded on a full disk."""
        return self._reserve.there or (self._segment is not None and self._segment.room is not None)

    def open(self) -> None:
        """Take up the log, or begin one; raises StorageError where another process writes it or nothing can be read."""
        self._take_directory()
        notes: list[Event] = []
        try:
            self._recover(notes)
        except OSError as exc:
            self.close()
            raise StorageError(f"cannot take up the audit log in {self._directory}: {exc.strerror}") from exc
        with contextlib.suppress(
            StorageError
        ):  # a full disk: what cannot be noted now is noted by the next open
            if notes:
                self.append(notes)
        self._reserve.fill()

    def append(self, events: Sequence[Event], *, vital: bool = False) -> None:
        """Put these at the end, on the disk when this returns; `vital` ones may use the reserve."""
        instant = self._clock.now()
        events = [*self._of_clock(instant), *events]
        try:
            self._clean()
            try:
                self._write(events, instant)
            except OSError as exc:
                if not (vital and is_full(exc)):
                    raise
                self._clean()
                self._write_reserved(events, instant)
        except OSError as exc:
            with contextlib.suppress(OSError):
                self._clean()
            raise StorageError(f"the audit log cannot be written: {exc.strerror}") from exc
        self._last = instant

    def tail(self, count: int) -> list[Record]:
        """The last records, oldest first, as many as the last two files have of them; raises StorageError."""
        found: list[Record] = []
        for path in segments(self._directory)[-2:]:
            bodies = [frame.body for frame in chain.frames(read(path))]
            found += [Record.read(body) for body in bodies[-count:]]
        return found[-count:]

    def checkpoint(self, counts: dict[str, int]) -> Checkpoint:
        """What to sign now: everything there is."""
        standing, instant = self._standing, self._clock.now()
        leaves = min(standing.uncovered, chain.LEAVES) * chain.LEAF_BYTES
        return Checkpoint(
            log=standing.log,
            seq=standing.state.seq,
            head=standing.state.head,
            leaves=standing.state.leaves[-leaves:] if leaves else b"",
            anchor=standing.anchor_after,
            wall_ms=round(instant.wall_s * 1000),
            trusted=instant.trusted,
            counts=counts,
        )

    def add_checkpoint(self, signed: bytes) -> None:
        """Put a signed checkpoint into the log."""
        self.append([Event(OURSELVES, chain.CHECKPOINT, "made", {"signed": signed})], vital=True)

    def re_anchor(self, anchor: bytes) -> None:
        """Go on from what the anchor says, though the log leads elsewhere; that it did is in the log."""
        about = {"expected": self._standing.anchor_after, "found": anchor}
        self.append([Event(OURSELVES, "audit.anchor", "mismatch", about)], vital=True)
        self._standing = self._standing._replace(anchor=anchor, folded=b"")

    def close(self) -> None:
        """Let go of the files."""
        if self._segment:
            self._segment.close()
            self._segment = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # writing

    def _write(self, events: Sequence[Event], instant: Instant) -> None:
        segment = self._segment
        if segment is None or segment.ended or segment.room is not None or self._is_full(segment):
            self._begin(Segment.create, events, instant)
            self._prune(instant)
            self._reserve.fill()
        else:
            data, standing = self._linked(events, instant)
            segment.append(data)
            self._standing = standing

    def _write_reserved(self, events: Sequence[Event], instant: Instant) -> None:
        segment = self._segment
        if segment and segment.room is not None and not segment.ended:
            data, standing = self._linked(events, instant)
            if segment.has_room(len(data)):
                segment.append(data)
                self._standing = standing
                return
        self._begin(self._reserve.spend, events, instant)

    def _begin(
        self, make: Callable[[Path, bytes], Segment], events: Sequence[Event], instant: Instant
    ) -> None:
        """Go on in a new file."""
        data, standing = self._linked(events, instant, begins=True)
        self._begun = self._directory / f"{self._standing.state.seq + 1:016d}.audit"
        made = make(self._begun, data)
        self._begun = None
        if self._segment:
            self._segment.close()
        self._segment, self._standing = made, standing

    def _clean(self) -> None:
        """Remove what a failure has left: else it and what comes next would be two records of one number."""
        if self._begun:
            self._begun.unlink(missing_ok=True)
            sync_directory(self._directory)
            self._begun = None
        if self._segment and self._segment.dirty:
            self._segment.repair()

    def _is_full(self, segment: Segment) -> bool:
        return segment.size >= self._config.segment_max_bytes

    def _linked(
        self, events: Sequence[Event], instant: Instant, *, begins: bool = False
    ) -> tuple[bytes, Standing]:
        """The bytes to write, and the standing once they are."""
        standing, parts = self._standing, []
        if begins:
            decision = "continued" if standing.log else "begun"
            standing = standing if standing.log else standing._replace(log=secrets.token_bytes(16))
            events = [Event(OURSELVES, SEGMENT, decision, standing.about()), *events]
            parts.append(MAGIC)
        for event in events:
            frame, state = chain.link(standing.state, event, instant)
            standing = standing._replace(state=state)
            if event.what == chain.CHECKPOINT:
                standing = standing.checked(event.about["signed"])
            parts.append(frame)
        return b"".join(parts), standing

    def _of_clock(self, instant: Instant) -> list[Event]:
        """What became of the clock since the last record of this life."""
        if self._last is None:
            return []
        events = []
        if instant.trusted != self._last.trusted:
            events.append(Event(OURSELVES, "clock.trust", "trusted" if instant.trusted else "untrusted"))
        if step_s := stepped_s(self._last, instant):
            events.append(Event(OURSELVES, "clock.step", "noticed", {"seconds": round(step_s, 3)}))
        return events

    def _prune(self, instant: Instant) -> None:
        """Delete the oldest files beyond what is kept, once the log says so."""
        with contextlib.suppress(OSError, Rejected):
            paths = segments(self._directory)
            sizes = [path.stat().st_size for path in paths]
            gone = 0
            while sum(sizes[gone:]) > self._config.keep_max_bytes and gone < len(paths) - 1:
                gone += 1
            if not gone:
                return
            first = chain.first_record(beginning(paths[gone]))
            about = {"through": first.seq - 1, "head": first.before, "files": gone}
            assert self._segment is not None  # noqa: S101 - the caller made it
            data, standing = self._linked([Event(OURSELVES, PRUNED, "pruned", about)], instant)
            self._segment.append(data)
            self._standing = standing
            for path in paths[:gone]:
                for kept in self._directory.glob(f"{path.stem}.*"):
                    kept.unlink()
            sync_directory(self._directory)

    # opening

    def _take_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            sync_directory(self._directory.parent)
            self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self.close()
            raise StorageError(f"another process writes the audit log in {self._directory}") from exc
        except OSError as exc:
            self.close()
            raise StorageError(f"cannot use {self._directory}: {exc.strerror}") from exc

    def _recover(self, notes: list[Event]) -> None:
        """Find the end of the log, and cut off what a power cut left behind it."""
        paths = segments(self._directory)
        while paths and self._segment is None:
            path = paths.pop()
            data = read(path)
            found = scan(data)
            if found.torn:
                notes.append(self._set_aside(path, data, found))
            if not found.first:
                path.unlink()
                sync_directory(self._directory)
                continue
            standing = found.standing
            if found.records < min(standing.uncovered, chain.LEAVES) and paths:
                standing = with_leaves(standing, scan(read(paths[-1])).standing)
            self._standing = standing
            self._segment = Segment.resume(path, found.end)
            if found.damaged:
                notes.append(Event(OURSELVES, DAMAGED, "found", {"file": path.name}))
                self._segment.ended = True  # the next start need not find it again

    def _set_aside(self, path: Path, data: bytes, found: Scan) -> Event:
        """Keep what is cut off where whole records are in it: a power cut leaves none that anybody was told of."""
        torn = data[found.end : found.end + found.torn]
        about: dict[str, object] = {
            "file": path.name,
            "at": found.end,
            "bytes": len(torn),
            "sha256": hashlib.sha256(torn).hexdigest(),
        }
        if chain.resume_at(torn, 0) is not None:
            with contextlib.suppress(OSError):
                kept = path.with_suffix(f".{found.end}.cut")
                write_synced(kept, torn, 0o640)
                about["kept"] = kept.name
        return Event(OURSELVES, RECOVERED, "cut", about)
