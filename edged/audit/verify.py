"""Whether a log is what the device wrote, and where it is not.

Pure. Nothing is believed but hashes (of a record in the next one, of the chain in its checkpoints, of the checkpoints
in the anchor) and signatures, where the device's key is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from edged.audit import chain
from edged.audit.chain import (
    CHECKPOINT,
    LEAVES,
    MAGIC,
    PRUNED,
    SEGMENT,
    ZERO,
    BadRecord,
    Checkpoint,
    Record,
    unsigned,
)
from edged.audit.verdict import Finding, Kind, Verdict
from edged.errors import Rejected

FINDINGS_MAX: Final = 1000
"""Reported one by one; a log with more was not changed but destroyed."""

Open = Callable[[bytes], bytes]
"""The payload of a signed checkpoint; raises Rejected where it is not the device's."""


class Verifier:
    """Takes the files of a log one after the other, oldest first; `finish` gives the verdict.

    `opened` opens signed checkpoints; without it they are read and not believed to be the device's. `published` are
    payloads of checkpoints that were kept elsewhere, already opened.
    """

    def __init__(self, opened: Open | None = None, published: Iterable[Checkpoint] = ()) -> None:
        self._opened = opened
        self._published = {checkpoint.seq: checkpoint for checkpoint in published}
        self._findings: list[Finding] = []
        self._gaps: list[Finding] = []
        self._displaced: set[int] = set()
        self._pruned: dict[int, bytes] = {}
        self._hashes: dict[int, bytes] = {}
        self._next = 1
        self._before = ZERO
        """Hash of the last record."""
        self._first: Record | None = None
        self._last = b""
        self._log = b""
        self._anchor: bytes | None = None
        self._anchor_before: bytes | None = None
        self._covered = self._checkpoints = self._records = self._files = 0
        self._rewritten = False
        """Whether all hashes after a change are new ones: later checkpoints differ because of that one."""
        self._damage: tuple[str, int] | None = None
        self._file, self._at = "", 0

    def take(self, file: str, data: bytes) -> None:
        """Go on with the bytes of this file."""
        self._file, self._at = file, 0
        self._files += 1
        if not data.startswith(MAGIC):
            self._find(
                Kind.DAMAGED, self._next, self._next, f"before record {self._next}: no head of a log file"
            )
        at: int | None = len(MAGIC)
        while at is not None and at < len(data):
            self._at = at
            if frame := chain.whole(data, at):
                self._take_record(frame.body, frame.digest)
                at = frame.end
            elif not data[at:].strip(b"\0"):
                break  # room that was reserved and is not written yet
            else:
                self._damage = self._damage or (file, at)
                at = chain.resume_at(data, at)

    def finish(self, anchor: bytes | None = None) -> Verdict:
        """The verdict; `anchor` is what the TPM says now."""
        if self._damage:
            self._end_damage(self._next + 1)
        self._find_gaps()
        self._find_published()
        if None not in (anchor, self._anchor) and anchor not in (self._anchor, self._anchor_before):
            self._find(
                Kind.REPLAYED,
                self._next,
                self._next,
                f"the anchor is not what the log's last checkpoint, of record {self._covered}, leads to: "
                "an older copy was restored, or the TPM replaced",
            )
        return self._verdict()

    # inside

    def _take_record(self, body: bytes, digest: bytes) -> None:
        """Go on with a record whose own hash is right.

        One that follows as it should is read only if it may be about the log: the chain vouches for the rest.
        """
        seq = self._next
        self._records += 1
        if self._damage or self._first is None or not body.startswith(chain.opening(seq, self._before)):
            read = self._read(body)
            if read is None or not self._found(read):
                return
            seq = read.seq
        self._next, self._before, self._last = seq + 1, digest, body
        self._hashes[seq] = digest
        if chain.OWN in body:
            self._take_own(body)
        if self._published and (kept := self._published.get(seq)) and kept.log == self._log:
            self._compare(kept, f"the published checkpoint of record {seq}")

    def _read(self, body: bytes) -> Record | None:
        try:
            return Record.read(body)
        except BadRecord as exc:
            self._find(Kind.ALTERED, self._next, self._next, f"record {self._next}: {exc.message}")
            self._damage = self._damage or (self._file, self._at)
        return None

    def _found(self, record: Record) -> bool:
        """Judge one that does not simply follow; whether the chain goes on from it."""
        if record.seq < self._next:
            self._displaced.add(record.seq)
            name = f"record {record.seq} stands after record {self._next - 1}"
            self._find(Kind.MOVED, record.seq, record.seq, name)
            return False
        self._link(record)
        self._first = self._first or record
        return True

    def _take_own(self, body: bytes) -> None:
        record = self._read(body)
        if record and (take := _OWN.get(record.what)):
            take(self, record)

    def _link(self, record: Record) -> None:
        """Judge whether it follows the record before it."""
        before = record.seq - 1
        if self._damage or record.seq > self._next:
            if self._damage:
                self._end_damage(record.seq)
            else:
                self._gaps.append(self._finding(Kind.REMOVED, self._next, before, ""))
            self._hashes[before] = record.before
            self._anchor = self._anchor_before = None  # a checkpoint may be among them
        elif record.before != self._before:
            name = f"record {before} is not the one that record {record.seq} was written after"
            self._find(
                Kind.ALTERED, max(before, 1), max(before, 1), name if before else "record 1 begins no log"
            )

    def _end_damage(self, seq: int) -> None:
        """Name what lay between the last whole record and this one."""
        assert self._damage is not None  # noqa: S101 - the callers ask
        file, at = self._damage
        self._damage = None
        last = max(self._next, seq - 1)
        if self._findings and self._findings[-1].first == self._next:
            return  # an altered record that is no record: said already
        self._findings.append(
            Finding(
                kind=Kind.DAMAGED,
                first=self._next,
                last=last,
                file=file,
                offset=at,
                message=f"{_records(self._next, last)} damaged",
            )
        )

    def _take_segment(self, record: Record) -> None:
        log, anchor, folded = (record.about.get(name) for name in ("log", "anchor", "folded"))
        if not (isinstance(log, bytes) and isinstance(anchor, bytes) and isinstance(folded, bytes)):
            self._find(Kind.ALTERED, record.seq, record.seq, f"record {record.seq} begins no file")
            return
        if self._log and log != self._log:
            self._find(Kind.REPLAYED, record.seq, record.seq, f"record {record.seq} begins another log")
        self._log = self._log or log
        if self._anchor is None:
            self._anchor = chain.extended(anchor, folded) if folded else anchor

    def _take_pruned(self, record: Record) -> None:
        through, head = record.about.get("through"), record.about.get("head")
        if isinstance(through, int) and isinstance(head, bytes):
            self._pruned[through] = head

    def _take_checkpoint(self, record: Record) -> None:
        signed = record.about.get("signed")
        if not isinstance(signed, bytes):
            self._find(Kind.FORGED, record.seq, record.seq, f"record {record.seq} holds no checkpoint")
            return
        self._checkpoints += 1
        try:
            checkpoint = Checkpoint.read((self._opened or unsigned)(signed))
        except Rejected as exc:
            self._find(
                Kind.FORGED, record.seq, record.seq, f"the checkpoint in record {record.seq}: {exc.message}"
            )
            return
        if self._agrees(checkpoint, record.seq):
            self._covered = max(self._covered, checkpoint.seq)
        self._anchor_before, self._anchor = checkpoint.anchor, chain.fold(checkpoint.anchor, signed)
        for seq in [seq for seq in self._hashes if seq <= checkpoint.seq - LEAVES]:
            del self._hashes[seq]

    def _agrees(self, checkpoint: Checkpoint, seq: int) -> bool:
        if self._log and checkpoint.log != self._log:
            self._find(Kind.REPLAYED, seq, seq, f"the checkpoint in record {seq} is of another log")
            return False
        if self._anchor is not None and checkpoint.anchor != self._anchor:
            between = (
                f"between records {self._covered} and {checkpoint.seq} the anchor went on without this log"
            )
            self._find(
                Kind.REPLAYED,
                self._covered + 1,
                checkpoint.seq,
                f"{between}: an older copy was restored, or the TPM replaced",
            )
        return self._compare(checkpoint, f"the checkpoint in record {seq}")

    def _compare(self, checkpoint: Checkpoint, name: str) -> bool:
        """Whether the records are those it vouches for; what is known to be damaged agrees by what follows it."""
        differs = checkpoint.differs_from(self._hashes)
        if differs is None:
            return True
        if not self._rewritten:
            self._find(
                Kind.ALTERED, differs, differs, f"record {differs} is not the one that {name} vouches for"
            )
        self._rewritten = self._hashes.get(checkpoint.seq, checkpoint.head) != checkpoint.head
        return False

    def _find_gaps(self) -> None:
        for gap in self._gaps:
            if gap.first == 1 and self._pruned.get(gap.last) is not None and self._vouched(gap.last):
                continue
            for first, last in _without(gap.first, gap.last, self._displaced):
                message = f"{_records(first, last)} gone"
                self._findings.append(msgspec.structs.replace(gap, first=first, last=last, message=message))

    def _vouched(self, through: int) -> bool:
        return self._first is not None and self._pruned[through] == self._first.before

    def _find_published(self) -> None:
        """What was published tells whether the log ends too early, or is another one."""
        last = self._next - 1
        foreign = [seq for seq, kept in self._published.items() if self._log and kept.log != self._log]
        if foreign:
            name = f"the published checkpoint of record {max(foreign)} is of another log"
            self._find(Kind.REPLAYED, 1, last, f"{name}: this one was begun later, or elsewhere")
        newest = max(self._published.keys() - foreign, default=0)
        if newest > last:
            gone = f"{_records(last + 1, newest)} gone: a published checkpoint vouches for record {newest}"
            why = "its tail was cut, or an older copy restored"
            self._find(Kind.CUT, last + 1, newest, f"{gone}, and the log ends with {last}; {why}")

    def _verdict(self) -> Verdict:
        last = Record.read(self._last) if self._last else None
        findings = sorted(self._findings, key=lambda finding: finding.first)
        return Verdict(
            intact=not findings,
            log=self._log.hex(),
            files=self._files,
            records=self._records,
            first=self._first.seq if self._first else 0,
            last=last.seq if last else 0,
            head=self._before.hex() if last else "",
            checkpoints=self._checkpoints,
            signatures="checked" if self._opened else "not checked: no public key was given",
            covered=self._covered,
            tail=(last.seq if last else 0) - self._covered,
            anchor=(self._anchor or ZERO).hex(),
            wall_ms=last.wall_ms if last else 0,
            trusted=last.trusted if last else False,
            findings=findings[:FINDINGS_MAX],
        )

    def _find(self, kind: Kind, first: int, last: int, message: str) -> None:
        """Note a change, unless it is noted already: a link and a checkpoint may both show it."""
        if not any(
            (known.kind, known.first, known.last) == (kind, first, last) for known in self._findings[-8:]
        ):
            self._findings.append(self._finding(kind, first, last, message))

    def _finding(self, kind: Kind, first: int, last: int, message: str) -> Finding:
        return Finding(kind=kind, first=first, last=last, file=self._file, offset=self._at, message=message)


_OWN: Final = {
    SEGMENT: Verifier._take_segment,  # noqa: SLF001 - its own table
    CHECKPOINT: Verifier._take_checkpoint,  # noqa: SLF001 - likewise
    PRUNED: Verifier._take_pruned,  # noqa: SLF001 - likewise
}


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _without(first: int, last: int, displaced: set[int]) -> Iterable[tuple[int, int]]:
    """The ranges of first..last that are left without some."""
    start = first
    for seq in sorted(seq for seq in displaced if first <= seq <= last):
        if start < seq:
            yield start, seq - 1
        start = seq + 1
    if start <= last:
        yield start, last
