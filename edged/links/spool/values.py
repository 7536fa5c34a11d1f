"""What is spooled, and what the spool promises."""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from edged.errors import EdgedError


class Kind(enum.StrEnum):
    """What a record is; its policy (priority, lifetime, whether it may be evicted) is in `policy`."""

    AUDIT = "audit"
    ALERT = "alert"
    CONFIG = "config"
    TELEMETRY = "telemetry"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Something to send. A second record of the same `id` is the same record: it is stored once."""

    id: str
    kind: Kind
    topic: str
    payload: bytes
    content_type: str = "application/json"
    retain: bool = False
    """Whether the broker keeps it for those who subscribe later."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A record on disk."""

    seq: int
    """Grows with every record and is never used again by the same spool."""
    record: Record
    put_s: float
    """When it came, by the wall clock then; seconds since 1970."""
    size: int
    """Bytes it counts for in the budget."""
    sealed: bool = False
    """Whether the payload is encrypted still."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Telemetry that is gone: `count` records among the sequence numbers `first_seq` to `last_seq`."""

    reason: str
    """evicted (no room), expired (older than its lifetime)."""
    first_seq: int
    last_seq: int
    first_s: float
    """When the first of them came, by the wall clock then."""
    last_s: float
    count: int
    size: int
    """Bytes they counted for."""


class Sealer(Protocol):
    """The device's keys, as the spool sees them. On any thread, and without waiting."""

    @property
    def problem(self) -> EdgedError | None:
        """Why the keys do not open; None where they do."""

    def seal(self, place: str, plain: bytes) -> bytes:
        """Encrypt; it opens for the same place alone. Raises what keeps the keys from opening."""

    def open(self, place: str, data: bytes) -> bytes:
        """The content again; KeysCorrupt where just this does not open, else as `seal`."""


class Outbox(Protocol):
    """What other rooms know of the spool."""

    async def put(self, *records: Record) -> None:
        """Returns when all of them are on disk (fsync); raises StorageError where they are not.

        All or none are kept. Also raises TooLarge, BadArgument (telemetry that says it is JSON and is not), and
        Overloaded where more waits for the disk than memory should hold. One that raised may still be sent.
        """
