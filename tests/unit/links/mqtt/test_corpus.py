from __future__ import annotations

from edged.links.mqtt.people.batching import Batcher
from edged.links.mqtt.people.config import StateConfig
from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES, Publication
from edged.links.spool import packing
from edged.links.spool.values import Record, Row
from tests.rig.telling import ME
from tests.rig.telling_day import HOURS, samples

INTERVAL_S = 10
NEVER = 1 << 30


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


def test_samples_are_at_most_a_fifth_of_their_size_when_the_spool_has_packed_them() -> None:
    batches = day(seed=1)
    records = [record for batch in batches for record in batch]
    assert len({record.id for record in records}) == len(records) == len(HOURS) * 3600 / INTERVAL_S
    plain, packed = (sum(len(message(batch, least).payload) for batch in batches) for least in (NEVER, 1024))
    assert plain >= 5 * packed
    assert packed * 24 / len(HOURS) < 1_000_000  # bytes a day
    assert max(len(message(batch, NEVER).payload) for batch in batches) < DEFAULT_LIMIT_BYTES


def message(batch: tuple[Record, ...], compress_min: int) -> Publication:
    """As it leaves."""
    rows = [Row(seq=seq, record=record, put_s=0.0, size=0) for seq, record in enumerate(batch, 1000)]
    return packing.batch(rows, "5b001", compress_min)
