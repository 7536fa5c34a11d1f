"""Where a log stands, read from the bytes of its last files: what to go on from, and what of them is a torn tail.

Pure.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edged.audit import chain
from edged.audit.chain import (
    CHECKPOINT,
    LEAF_BYTES,
    LEAVES,
    MAGIC,
    SEGMENT,
    ZERO,
    BadRecord,
    Record,
    State,
    unsigned,
)


class Standing(NamedTuple):
    """What the next record needs to know of all before it."""

    state: State = State()
    log: bytes = b""
    """Which log; empty before its first record."""
    covered: int = 0
    """The record that the last checkpoint is of."""
    anchor: bytes = ZERO
    """The anchor before that checkpoint."""
    folded: bytes = b""
    """What of that checkpoint goes into the anchor; empty before the first."""

    @property
    def uncovered(self) -> int:
        """Records that no checkpoint vouches for."""
        return self.state.seq - self.covered

    @property
    def anchor_after(self) -> bytes:
        """The anchor with that checkpoint in it."""
        return chain.extended(self.anchor, self.folded) if self.folded else self.anchor

    def checked(self, signed: bytes) -> Standing:
        """After a checkpoint, in its signed form, went into the log."""
        checkpoint = chain.Checkpoint.read(unsigned(signed))
        return self._replace(covered=checkpoint.seq, anchor=checkpoint.anchor, folded=chain.digest_of(signed))

    def about(self) -> dict[str, object]:
        """What the first record of a file holds."""
        return {"log": self.log, "covered": self.covered, "anchor": self.anchor, "folded": self.folded}

    def past(self, body: bytes, digest: bytes) -> Standing:
        """After a record as it stands on disk; raises BadRecord."""
        here = self._replace(state=self.state.past(digest))
        if chain.OWN not in body and self.log:
            return here
        record = Record.read(body)
        here = here._replace(state=here.state._replace(seq=record.seq))
        if record.what == SEGMENT:
            return _begun(here.state, record)
        signed = record.about.get("signed")
        return here.checked(signed) if record.what == CHECKPOINT and isinstance(signed, bytes) else here


class _Start(msgspec.Struct):
    """See `Standing.about`."""

    log: bytes
    covered: int
    anchor: bytes
    folded: bytes


def _begun(state: State, record: Record) -> Standing:
    try:
        start = msgspec.convert(record.about, _Start, builtin_types=(bytes,))
    except msgspec.ValidationError as exc:
        raise BadRecord(f"record {record.seq} begins no file: {exc}") from exc
    return Standing(state, start.log, start.covered, start.anchor, start.folded)


class Scan(NamedTuple):
    """What a file holds."""

    standing: Standing
    first: int
    """Number of its first whole record; 0 where there is none."""
    end: int
    """Where its last whole record ends that no damage comes before, or that a checkpoint proves to be no torn tail."""
    size: int
    torn: int
    """Bytes from there on that are no zeros."""
    damaged: bool
    """Whether something before that end is damaged."""

    @property
    def records(self) -> int:
        """How many it holds, as their numbers say."""
        return self.standing.state.seq - self.first + 1 if self.first else 0


def scan(data: bytes, before: Standing | None = None) -> Scan:
    """Read one file; `before` is the standing at the end of the file before it, where that was read."""
    standing = before or Standing()
    proven, tentative = standing, standing
    first = end = 0
    damaged = False
    at: int | None = len(MAGIC)
    broken = not data.startswith(MAGIC)
    while at is not None and at < len(data):
        frame = chain.whole(data, at)
        if frame is None:
            broken = True
            at = chain.resume_at(data, at)
            continue
        try:
            tentative = _again(tentative, frame) if broken else tentative.past(frame.body, frame.digest)
        except BadRecord:
            broken, at = True, frame.end
            continue
        first = first or tentative.state.seq
        if not broken or tentative.covered > proven.covered:
            damaged, broken = damaged or broken, False
            proven, end = tentative, frame.end
        at = frame.end
    torn = len(data[end:].rstrip(b"\0"))
    return Scan(proven, first, end, len(data), torn, damaged)


def _again(standing: Standing, frame: chain.Whole) -> Standing:
    """Take up the chain after damage."""
    seq = Record.read(frame.body).seq
    return standing._replace(state=standing.state._replace(seq=seq - 1)).past(frame.body, frame.digest)


def with_leaves(standing: Standing, older: Standing) -> Standing:
    """The same, with the leaves of the file before it in front of its own."""
    leaves = (older.state.leaves + standing.state.leaves)[-LEAVES * LEAF_BYTES :]
    return standing._replace(state=standing.state._replace(leaves=leaves))
