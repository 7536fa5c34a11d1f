"""The chain: records, each with the hash of the one before it, and the checkpoints that vouch for them.

Pure. A record is a CBOR array; on disk it stands between its length (4 bytes, big-endian) and its SHA-256, so that a
flipped byte is found in the very record it is in, and a rewritten record in the one after it. A checkpoint says what
the head of the chain was. It is signed by the device and holds the first bytes of the hashes of the last records, so
that even a chain rewritten with all its hashes differs first at the record that was changed. Each checkpoint holds
the anchor's value before it, and is then folded into the anchor, which a TPM keeps and cannot set back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from edged import cbor
from edged.clock import Instant
from edged.errors import BadCbor, Rejected

MAGIC: Final = b"edgedAU1"
"""What a segment file begins with."""
ZERO: Final = bytes(32)
"""The hash before the first record, and the anchor before the first checkpoint."""
HASH_BYTES: Final = 32
LENGTH_BYTES: Final = 4
BODY_MAX_BYTES: Final = 16_384
TEXT_MAX: Final = 256
"""Characters of who, what and decision."""
LEAF_BYTES: Final = 8
LEAVES: Final = 256
"""Records that one checkpoint tells apart."""
OURSELVES: Final = "edged"
"""Who, where it is the daemon itself."""

SEGMENT: Final = "audit.segment"
"""First record of a file: which log it is of, how far checkpoints reached, and the anchor then."""
CHECKPOINT: Final = "audit.checkpoint"
OWN: Final = b"audit."
"""In the name of every record that is about the log itself."""
PRUNED: Final = "audit.pruned"
"""The oldest files went, as the config says: up to which record, and its hash."""

_SIGN1_TAG: Final = b"\xd2"  # RFC 9052 section 2
_FIELDS: Final = 9
_FIRST: Final = cbor.head(4, _FIELDS)


class BadRecord(Rejected):
    """Bytes that are no record or no checkpoint."""


class Event(msgspec.Struct, frozen=True):
    """What is to be recorded; `about` holds what is left of the arguments after redaction."""

    who: str
    what: str
    decision: str
    about: Mapping[str, Any] = {}


class Record(msgspec.Struct, frozen=True, array_like=True):
    """An event with its place in the chain; its fields in this order are the CBOR array."""

    seq: int
    before: bytes
    """SHA-256 of the record before it."""
    wall_ms: int
    trusted: bool
    uptime_ms: int
    who: str
    what: str
    decision: str
    about: dict[str, Any]

    @classmethod
    def read(cls, body: bytes) -> Record:
        """The record in these bytes; raises BadRecord."""
        try:
            return msgspec.convert(cbor.decode(body), cls, builtin_types=(bytes,))
        except (BadCbor, msgspec.ValidationError) as exc:
            raise BadRecord(f"not a record: {exc}") from exc


def opening(seq: int, before: bytes) -> bytes:
    """What the record of this number after that hash begins with: tells it from any other without reading it."""
    return _FIRST + cbor.head(0, seq) + cbor.head(2, len(before)) + before


class State(NamedTuple):
    """Where a chain stands."""

    seq: int = 0
    """Of the last record; the first has 1."""
    head: bytes = ZERO
    """Its hash."""
    leaves: bytes = b""
    """The first LEAF_BYTES of the hashes of the last records, oldest first."""

    def past(self, digest: bytes) -> State:
        """After a record of this hash."""
        leaves = (self.leaves + digest[:LEAF_BYTES])[-LEAVES * LEAF_BYTES :]
        return State(self.seq + 1, digest, leaves)


class Linked(NamedTuple):
    """A record as it goes to disk, and the chain after it."""

    frame: bytes
    state: State


def link(state: State, event: Event, instant: Instant) -> Linked:
    """The event as the next record. What of it is too long for one is cut, or stands there as its hash."""
    seq = state.seq + 1
    body = _body(seq, state.head, event, instant, event.about)
    if len(body) > BODY_MAX_BYTES:
        body = _body(seq, state.head, event, instant, {"cut": len(body), "sha256": _hash(body)})
    digest = _hash(body)
    return Linked(len(body).to_bytes(LENGTH_BYTES, "big") + body + digest, state.past(digest))


class Whole(NamedTuple):
    """A frame whose hash is right."""

    body: bytes
    digest: bytes
    end: int


def whole(data: bytes, at: int) -> Whole | None:
    """The frame at this place; None where the bytes there are not one whose hash is right."""
    start = at + LENGTH_BYTES
    length = int.from_bytes(data[at:start], "big")
    stop = start + length
    end = stop + HASH_BYTES
    if end > len(data) or not 0 < length <= BODY_MAX_BYTES:
        return None
    body = data[start:stop]
    digest = _hash(body)
    return Whole(body, digest, end) if data[stop:end] == digest else None


def frames(data: bytes) -> Iterator[Whole]:
    """Every whole frame of a file, also behind damage."""
    at: int | None = len(MAGIC)
    while at is not None and at < len(data):
        if frame := whole(data, at):
            yield frame
            at = frame.end
        else:
            at = resume_at(data, at)


def resume_at(data: bytes, at: int) -> int | None:
    """Where after a damaged frame at `at` the next whole one begins; None where there is none."""
    at += 1
    while (at := data.find(b"\x00\x00", at)) != -1:
        if data[at + LENGTH_BYTES : at + LENGTH_BYTES + 1] == _FIRST and whole(data, at):
            return at
        at += 1
    return None


def first_record(data: bytes) -> Record:
    """The record that a file begins with; raises BadRecord."""
    if not data.startswith(MAGIC) or (frame := whole(data, len(MAGIC))) is None:
        raise BadRecord("no log file, or its first record is damaged")
    return Record.read(frame.body)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the device signs: the chain up to one record."""

    log: bytes
    """Which log: 16 bytes that were drawn when it began."""
    seq: int
    head: bytes
    """Hash of that record."""
    leaves: bytes
    """See `State`; the last is of that record."""
    anchor: bytes
    """The anchor before this checkpoint was folded into it."""
    wall_ms: int
    trusted: bool
    counts: dict[str, int]
    """Calls that are counted and not recorded, since the checkpoint before."""

    @property
    def id(self) -> str:
        """Names it where it is published."""
        return f"audit/{self.log.hex()}/{self.seq:016d}"

    def payload(self) -> bytes:
        """The bytes to sign."""
        return cbor.encode(msgspec.to_builtins(self, builtin_types=(bytes,)))

    @classmethod
    def read(cls, payload: bytes) -> Checkpoint:
        """The checkpoint in these bytes; raises BadRecord."""
        try:
            return msgspec.convert(cbor.decode(payload), cls, builtin_types=(bytes,))
        except (BadCbor, msgspec.ValidationError) as exc:
            raise BadRecord(f"not a checkpoint: {exc}") from exc

    def differs_from(self, hash_of: Mapping[int, bytes]) -> int | None:
        """The first record that is not the one it vouches for, as far as hashes are given; None where all agree."""
        count = len(self.leaves) // LEAF_BYTES
        for index in range(count):
            seq = self.seq - count + 1 + index
            leaf = self.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]
            if hash_of.get(seq, leaf)[:LEAF_BYTES] != leaf:
                return seq
        return self.seq if hash_of.get(self.seq, self.head) != self.head else None


def unsigned(signed: bytes) -> bytes:
    """The payload of a COSE_Sign1, its signature unchecked; raises BadRecord."""
    try:
        _protected, _unprotected, payload, _signature = cbor.decode(signed.removeprefix(_SIGN1_TAG))
    except (Rejected, TypeError, ValueError) as exc:
        raise BadRecord("not a COSE_Sign1") from exc
    if not isinstance(payload, bytes):
        raise BadRecord("a COSE_Sign1 without its payload")
    return payload


def digest_of(signed: bytes) -> bytes:
    """What of a signed checkpoint goes into the anchor."""
    return _hash(signed)


def extended(anchor: bytes, digest: bytes) -> bytes:
    """The anchor after a digest: what TPM2_NV_Extend makes of the two (TPM 2.0 Part 3, 31.9)."""
    return _hash(anchor + digest)


def fold(anchor: bytes, signed: bytes) -> bytes:
    """The anchor after a signed checkpoint."""
    return extended(anchor, digest_of(signed))


def _body(seq: int, before: bytes, event: Event, instant: Instant, about: Mapping[str, Any]) -> bytes:
    return cbor.encode(
        [
            seq,
            before,
            max(0, round(instant.wall_s * 1000)),
            instant.trusted,
            max(0, round(instant.uptime_s * 1000)),
            event.who[:TEXT_MAX],
            event.what[:TEXT_MAX],
            event.decision[:TEXT_MAX],
            about,
        ]
    )


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
