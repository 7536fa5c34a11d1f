"""What is spooled, and what the spool promises."""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec


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


class Outbox(Protocol):
    """What other rooms know of the spool."""

    async def put(self, *records: Record) -> None:
        """Returns when all of them are on disk (fsync); raises StorageError where they are not."""
