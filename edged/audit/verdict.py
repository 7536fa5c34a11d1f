"""What became of a log: values.

Pure.
"""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """What happened to a log."""

    DAMAGED = "damaged"
    """Bytes changed, and no hash with them."""
    ALTERED = "altered"
    """A record was written anew, with a hash of its own."""
    REMOVED = "removed"
    MOVED = "moved"
    """A record stands where it was not written, or stands there twice."""
    CUT = "cut"
    """Records after the last one existed."""
    REPLAYED = "replayed"
    """An older copy of the log, or another log, took the place of this one."""
    FORGED = "forged"
    """A checkpoint that the device has not signed."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One change, by the records it is in."""

    kind: Kind
    first: int
    last: int
    file: str
    offset: int
    """Where in the file it was noticed."""
    message: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a log."""

    intact: bool
    log: str
    """Which log, in hex; empty where its first record is gone."""
    files: int
    records: int
    first: int
    last: int
    head: str
    """SHA-256 of the last record, in hex."""
    checkpoints: int
    signatures: str
    """checked, or why not."""
    covered: int
    """The last record that a good checkpoint vouches for."""
    tail: int
    """Records after it: a change there that keeps the hashes right cannot be noticed yet."""
    anchor: str
    """What the anchor should hold now, in hex."""
    wall_ms: int
    """When the last record was written, by the device's clock."""
    trusted: bool
    findings: list[Finding]
