"""`edged://audit`: what was asked of this device and what it decided, for operators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from edged.audit.chain import Record
from edged.audit.checkpoints import Checkpoints, Status
from edged.audit.log import Log
from edged.mcp.catalog import Call, Relevance, Resource, Tier
from edged.tools.uris import AUDIT, JSON

SHOWN: Final = 100
"""Records in the document; `edged audit` has them all."""
LATEST_MS: Final = 253_402_300_799_000
"""The last second of the year 9999: a clock may lie by more."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record."""

    seq: int
    time: str
    """ISO 8601, by the device's clock."""
    trusted: bool
    """Whether that clock was set by a time server."""
    who: str
    what: str
    decision: str
    about: dict[str, Any]
    """What is left of the arguments after redaction; bytes in hex."""

    @classmethod
    def of(cls, record: Record) -> AuditRecord:
        """The record as it is shown."""
        return cls(
            seq=record.seq,
            time=shown_time(record.wall_ms),
            trusted=record.trusted,
            who=record.who,
            what=record.what,
            decision=record.decision,
            about=shown_about(record.about),
        )


class AuditDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`edged://audit`."""

    status: Status
    records: list[AuditRecord]
    """The last ones, oldest first."""


def resource(log: Log, checkpoints: Checkpoints) -> Resource:
    """The resource over an open log."""

    async def read(_call: Call) -> str:
        records = [AuditRecord.of(record) for record in await log.tail(SHOWN)]
        return msgspec.json.encode(AuditDocument(status=checkpoints.status(), records=records)).decode()

    return Resource(
        uri=AUDIT,
        name="audit",
        title="Audit log",
        description=f"The last {SHOWN} of what was asked of this device and what it decided; how far the device's "
        "signature vouches for it, and whether the TPM's anchor is where the log leads.",
        mime=JSON,
        read=read,
        tier=Tier.OPERATOR,
        relevance=Relevance(priority=0.3),
    )


def shown_time(wall_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601."""
    moment = datetime.fromtimestamp(min(wall_ms, LATEST_MS) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown_about(value: Any) -> Any:
    """The same as JSON has it: bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: shown_about(item) for name, item in value.items()}
    return [shown_about(item) for item in value] if isinstance(value, list) else value
