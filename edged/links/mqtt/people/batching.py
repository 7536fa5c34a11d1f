"""Samples kept for a while, so that the card is written once for many. Pure: `now` is an argument."""

from __future__ import annotations

from typing import Final

from edged.links.mqtt.people.vitals import JSON, Identity, Sample, Topics, encode
from edged.links.spool.values import Kind, Record

KEPT_MAX: Final = 512
"""Samples kept while the disk refuses them; then the oldest goes."""


class Batcher:
    """Samples as records, until they are stored."""

    def __init__(self, identity: Identity, batch_s: float) -> None:
        self._start_id, self._batch_s = identity.start_id, batch_s
        self._topic = Topics(identity.device).telemetry
        self._records: list[Record] = []
        self._count = 0
        self._since_s = 0.0

    def add(self, sample: Sample, now: float) -> None:
        """Keep one more."""
        if not self._records:
            self._since_s = now
        self._count += 1
        self._records.append(
            Record(
                id=f"{self._start_id}-t{self._count}",
                kind=Kind.TELEMETRY,
                topic=self._topic,
                payload=encode(sample),
                content_type=JSON,
            )
        )
        del self._records[:-KEPT_MAX]

    def due(self, now: float) -> tuple[Record, ...]:
        """What is to be stored now; again at the next call, until `stored` says that it is."""
        return self.all() if now - self._since_s >= self._batch_s else ()

    def all(self) -> tuple[Record, ...]:
        """Everything, due or not."""
        return tuple(self._records)

    def stored(self, now: float) -> None:
        """All of it is on disk."""
        self._records.clear()
        self._since_s = now
