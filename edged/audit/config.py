"""What the owner of a device may set about its audit log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class AuditConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what was asked and decided is recorded. The log itself cannot be switched off."""

    fsync: Literal["acts", "all"] = "acts"
    """What is on disk before it goes on. acts: an operator's act, before its effect; everything else within
    `batch_ms`. all: everything, as soon as it is known."""
    batch_ms: Annotated[int, Meta(ge=0, le=10_000)] = 200
    """Milliseconds that a record which holds up nothing waits for others. Default: five writes a second at most."""
    inference: Literal["counts", "calls"] = "counts"
    """counts: how many calls each model answered, in every checkpoint. calls: a record of each, with who asked."""
    checkpoint_records: Annotated[int, Meta(ge=1, le=256)] = 256
    """Records before the device signs where the log stands. Default: as many as one checkpoint tells apart."""
    checkpoint_interval_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    """Seconds after a record before it does. Each checkpoint is one write to the TPM's memory: where something is
    recorded every minute, a longer interval spares a TPM that endures 100,000 of them. Default: a minute."""
    segment_max_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4 * 1024 * 1024
    """A file of the log. Default: some 20,000 records."""
    keep_max_bytes: Annotated[int, Meta(ge=1_048_576)] = 64 * 1024 * 1024
    """All files; the oldest go first, and the log says so. Default: some 350,000 records."""

    def __post_init__(self) -> None:
        if self.keep_max_bytes < 2 * self.segment_max_bytes:
            raise ValueError("keep_max_bytes must hold two files of segment_max_bytes")
