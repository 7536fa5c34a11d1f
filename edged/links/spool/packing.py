"""Records as messages: what a subscriber gets, and what it may answer. Pure.

A message carries `id`, `seq` and `spool` as user properties and the record's payload unchanged. Telemetry that is JSON
goes in batches, an array of `{"id", "seq", "sample"}`. Whoever has seen an id has seen the record: a message may
come twice, and a batch with other neighbours. `content-encoding: deflate` is zlib's format (RFC 1950), as in HTTP.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from edged.errors import BadArgument, TooLarge
from edged.links.mqtt.people.vitals import Alert
from edged.links.mqtt.values import Properties, Publication
from edged.links.spool.values import Gap, Kind, Record, Row

ACKS_MAX_BYTES: Final = 64 * 1024
_JSON: Final = "application/json"
_HEADERS_BYTES: Final = 64  # fixed header, topic and property lengths, packet id: MQTT 5, 3.3


class Acks(msgspec.Struct, frozen=True):
    """What the fleet manager publishes, not retained, on `edged/v1/<id>/dn/ack`: the records it has."""

    ids: Annotated[list[str], Meta(max_length=1000)]


class GapAlert(Alert, frozen=True, kw_only=True):
    """Which telemetry the fleet will never see; fields as in `Gap`."""

    spool: str
    """Whose numbers these are."""
    reason: str
    first_seq: int
    last_seq: int
    first_s: float
    last_s: float
    count: int
    size: int


class DamageAlert(Alert, frozen=True, kw_only=True):
    """The spool's file was damaged, and a new one begun."""

    spool: str
    """The new one."""
    reason: str
    kept_as: str
    """What the damaged file is called now."""
    records_saved: int
    """Of what must not be lost, those that could still be read."""


class _Sample(msgspec.Struct, frozen=True):
    id: str
    seq: int
    sample: Raw


def batchable(record: Record) -> bool:
    """Whether it goes into batches."""
    return record.kind is Kind.TELEMETRY and record.content_type == _JSON


def check(record: Record, payload_max: int) -> None:
    """Raise what is wrong with a record: TooLarge, BadArgument."""
    if len(record.payload) > payload_max:
        raise TooLarge(f"record {record.id}: {len(record.payload)} bytes, more than {payload_max}")
    if batchable(record):
        try:
            msgspec.json.decode(record.payload, type=Raw)
        except msgspec.DecodeError as exc:
            raise BadArgument(f"record {record.id}: not JSON: {exc}") from exc


def single(row: Row, spool: str, compress_min: int) -> Publication:
    """One record, as it is."""
    record = row.record
    user = (("id", record.id), ("seq", str(row.seq)), ("spool", spool))
    return _publication(record, record.payload, user, compress_min)


def batch(rows: Sequence[Row], spool: str, compress_min: int) -> Publication:
    """Telemetry of one topic in one message."""
    samples = [_Sample(row.record.id, row.seq, Raw(row.record.payload)) for row in rows]
    return _publication(rows[0].record, msgspec.json.encode(samples), (("spool", spool),), compress_min)


def alike(rows: Sequence[Row], payload_max: int) -> Sequence[Row]:
    """The first of these that can share a message of at most so many bytes before deflate; at least one."""
    first, total = rows[0].record, 0
    if not batchable(first):
        return rows[:1]
    for at, row in enumerate(rows):
        total += len(row.record.payload) + len(row.record.id) + 48
        if at and (row.record.topic != first.topic or not batchable(row.record) or total > payload_max):
            return rows[:at]
    return rows


def bytes_of(publication: Publication) -> int:
    """What a message takes on the network, about; TCP's and TLS's own are not counted."""
    texts = sum(len(name) + len(value) + 5 for name, value in publication.properties.user)
    content_type = len(publication.properties.content_type or "")
    return _HEADERS_BYTES + len(publication.topic) + texts + content_type + len(publication.payload)


def gap_alert(gap: Gap, spool: str, topic: str, at: float) -> Record:
    """What tells the fleet which telemetry it will never see; `at` in seconds since 1970."""
    return _alert(
        topic,
        GapAlert(
            id=f"gap-{spool}-{gap.reason}-{gap.first_seq}-{gap.last_seq}",
            code="spool.gap",
            event="once",
            severity="warning",
            message=f"{gap.count} samples were {gap.reason} before they were sent",
            at=at,
            uptime_s=None,
            spool=spool,
            **msgspec.structs.asdict(gap),
        ),
    )


def damage_alert(spool: str, topic: str, reason: str, aside: str, saved: int, at: float) -> Record:
    """What tells the fleet that the spool was damaged, and which numbers it goes on with; `at` likewise."""
    return _alert(
        topic,
        DamageAlert(
            id=f"damaged-{spool}",
            code="spool.damaged",
            event="once",
            severity="critical",
            message=f"the outbox was damaged and begun anew with {saved} records of it",
            at=at,
            uptime_s=None,
            spool=spool,
            reason=reason,
            kept_as=aside,
            records_saved=saved,
        ),
    )


def acknowledged(payload: bytes) -> list[str]:
    """The ids in an acknowledgement; raises BadArgument, TooLarge."""
    if len(payload) > ACKS_MAX_BYTES:
        raise TooLarge(f"acknowledgement of {len(payload)} bytes, more than {ACKS_MAX_BYTES}")
    try:
        return msgspec.json.decode(payload, type=Acks).ids
    except msgspec.DecodeError as exc:
        raise BadArgument(f"acknowledgement: {exc}") from exc


def _alert(topic: str, alert: Alert) -> Record:
    return Record(id=alert.id, kind=Kind.ALERT, topic=topic, payload=msgspec.json.encode(alert))


def _publication(
    record: Record, payload: bytes, user: tuple[tuple[str, str], ...], compress_min: int
) -> Publication:
    deflated = zlib.compress(payload, 6) if len(payload) >= compress_min else payload
    pays = len(deflated) <= len(payload) * 3 // 4
    return Publication(
        topic=record.topic,
        payload=deflated if pays else payload,
        qos=1,
        retain=record.retain,
        properties=Properties(
            content_type=record.content_type,
            text=record.content_type == _JSON and not pays,
            user=(*user, ("content-encoding", "deflate")) if pays else user,
        ),
    )
