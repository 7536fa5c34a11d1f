from __future__ import annotations

import zlib

from edged.links.mqtt.batching import Batcher
from edged.links.mqtt.state_config import StateConfig
from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES
from edged.links.spool.values import Record
from tests.rig.telling import ME
from tests.rig.telling_day import HOURS, samples

INTERVAL_S = 10


def day(seed: int) -> list[tuple[Record, ...]]:
    """What is stored, as it is handed over."""
    batcher = Batcher(ME, StateConfig().batch_s)
    batches = []
    for at, sample in enumerate(samples(seed, INTERVAL_S)):
        batcher.add(sample, at * INTERVAL_S)
        if due := batcher.due(at * INTERVAL_S):
            batches.append(due)
            batcher.stored(at * INTERVAL_S)
    return [*batches, batcher.all()]


def test_samples_are_at_most_a_fifth_of_their_size_when_deflated() -> None:
    batches = day(seed=1)
    records = [record for batch in batches for record in batch]
    assert len({record.id for record in records}) == len(records) == len(HOURS) * 3600 / INTERVAL_S
    messages = [message(batch) for batch in batches]
    assert max(map(len, messages)) < DEFAULT_LIMIT_BYTES
    deflated = sum(len(zlib.compress(each, 6)) for each in messages)
    assert sum(map(len, messages)) >= 5 * deflated
    assert deflated * 24 / len(HOURS) < 1_000_000  # bytes a day


def message(batch: tuple[Record, ...]) -> bytes:
    """As the spool sends telemetry: docs/telemetry.md."""
    rows = [
        b'{"id":"%s","seq":%d,"sample":%s}' % (record.id.encode(), seq, record.payload)
        for seq, record in enumerate(batch, 1000)
    ]
    return b"[" + b",".join(rows) + b"]"
