"""Records as messages, and what deflate makes of a day's telemetry."""

from __future__ import annotations

import math
import random
import zlib

import msgspec
import pytest

from edged.errors import BadArgument, TooLarge
from edged.links.mqtt.values import Publication
from edged.links.spool import packing
from edged.links.spool.values import Gap, Kind, Record, Row


def row(seq: int, payload: bytes, **fields: object) -> Row:
    record = Record(id=f"id-{seq}", kind=Kind.TELEMETRY, topic="up/telemetry", payload=payload)
    return Row(seq=seq, put_s=0.0, size=0, record=msgspec.structs.replace(record, **fields))


def user(publication: Publication) -> dict[str, str]:
    return dict(publication.properties.user)


def test_a_record_is_sent_as_it_is_with_its_id_and_number() -> None:
    made = packing.single(
        row(7, b"\x00cose", kind=Kind.AUDIT, content_type="application/cose", retain=True), "abc", 1024
    )
    assert (made.payload, made.qos, made.retain, made.properties.content_type) == (
        b"\x00cose",
        1,
        True,
        "application/cose",
    )
    assert user(made) == {"id": "id-7", "seq": "7", "spool": "abc"}
    assert not made.properties.text


def test_telemetry_travels_in_an_array_that_names_each_sample() -> None:
    made = packing.batch([row(1, b'{"t":1}'), row(3, b"[2]")], "abc", 1024)
    assert made.payload == b'[{"id":"id-1","seq":1,"sample":{"t":1}},{"id":"id-3","seq":3,"sample":[2]}]'
    assert (user(made), made.properties.text) == ({"spool": "abc"}, True)


def test_only_telemetry_of_one_topic_that_is_json_shares_a_message() -> None:
    rows = [row(1, b"1"), row(2, b"2"), row(3, b"3", topic="elsewhere")]
    assert packing.alike(rows, 10_000) == rows[:2]
    assert packing.alike([row(1, b"1"), row(2, b"\x01", content_type="application/cbor")], 10_000) == [
        row(1, b"1")
    ]
    assert packing.alike([row(1, b"\x01", content_type="application/cbor"), row(2, b"1")], 10_000)[1:] == []
    assert len(packing.alike([row(n, b"1" * 100) for n in range(9)], 500)) == 3
    assert len(packing.alike([row(1, b"1" * 100)], 10)) == 1


def test_what_deflate_does_not_shrink_stays_as_it_is() -> None:
    noise = random.Random(1).randbytes(5000)  # noqa: S311 - repeatable, not secret
    assert "content-encoding" not in user(packing.single(row(1, noise), "abc", 0))
    long = packing.single(row(1, b"a" * 5000), "abc", 1024)
    assert (user(long)["content-encoding"], zlib.decompress(long.payload)) == ("deflate", b"a" * 5000)
    assert not long.properties.text
    assert packing.single(row(1, b"a" * 5000), "abc", 6000).payload == b"a" * 5000


def sample(at_s: int, dice: random.Random) -> bytes:
    """What a Raspberry Pi with two models reports: noisy readings, counters that grow, words that seldom change."""
    heat = 55 + 8 * math.sin(at_s / 9000) + dice.gauss(0, 0.4)
    rate = max(0.0, 4 + 3 * math.sin(at_s / 4000) + dice.gauss(0, 0.5))
    return msgspec.json.encode(
        {
            "at": f"2026-11-22T{at_s // 3600 % 24:02}:{at_s // 60 % 60:02}:{at_s % 60:02}.{dice.randrange(1000):03}Z",
            "board": "raspberry-pi-4",
            "band": "warm" if heat > 62 else "nominal",
            "readings": {
                "heat.cpu-thermal": round(heat, 1),
                "heat.rp1": round(heat - 6 + dice.gauss(0, 0.3), 1),
                "supply.battery": round(100 - at_s / 900, 1),
                "supply.volts": round(5.05 + dice.gauss(0, 0.02), 3),
                "load.cpu": round(dice.random() * 100, 1),
                "memory.available": dice.randrange(300_000_000, 310_000_000, 4096),
            },
            "models": {
                name: {
                    "rate_hz": round(rate * share, 2),
                    "count": int(at_s * 4 * share),
                    "p50_ms": round(31 + dice.gauss(0, 1), 2),
                    "p99_ms": round(55 + dice.gauss(0, 6), 2),
                    "refused": 0,
                }
                for name, share in (("blazeface", 0.8), ("kws", 0.2))
            },
        }
    )


@pytest.mark.parametrize(("count", "due"), [(200, 5.0), (6, 2.0)])
def test_deflate_makes_a_full_batch_of_telemetry_five_times_smaller(count: int, due: float) -> None:
    dice = random.Random(4)  # noqa: S311 - repeatable, not secret
    rows = [
        row(n * 3, sample(n * 10, dice), id=f"telemetry-5f3a9c01-{n}", topic="edged/v1/pi-7/up/telemetry")
        for n in range(1, count + 1)
    ]
    plain = sum(packing.bytes_of(packing.single(each, "0badcafe", 1 << 30)) for each in rows)
    batch = packing.bytes_of(packing.batch(rows, "0badcafe", 1024))
    assert plain / batch >= due


def test_the_bytes_of_a_message_are_what_mqtt_needs_at_least() -> None:
    made = packing.single(row(7, b"x" * 100), "abc", 1024)
    assert packing.bytes_of(made) > 100 + len(made.topic) + sum(
        len(n) + len(v) + 5 for n, v in made.properties.user
    )


def test_a_record_too_long_or_telemetry_that_is_not_json_is_refused() -> None:
    with pytest.raises(TooLarge, match="id-1: 11 bytes, more than 10"):
        packing.check(row(1, b"12345678901").record, 10)
    with pytest.raises(BadArgument, match="id-1: not JSON"):
        packing.check(row(1, b'{"a":').record, 10)
    packing.check(row(1, b"\x00", content_type="application/cbor").record, 10)


def test_an_acknowledgement_names_ids() -> None:
    assert packing.acknowledged(b'{"ids":["a","b"],"more":1}') == ["a", "b"]


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"ids":"a"}', b'{"ids":[1]}', b"\xff", b'{"ids":["' + b"a" * 70_000 + b'"]}']
)
def test_a_malformed_acknowledgement_is_refused(payload: bytes) -> None:
    with pytest.raises((BadArgument, TooLarge)):
        packing.acknowledged(payload)


def test_a_gap_says_what_is_missing() -> None:
    gap = Gap(reason="evicted", first_seq=1, last_seq=9, first_s=5, last_s=8, count=4, size=900)
    alert = packing.gap_alert(gap, "abc", "up/alert", 9.5)
    assert (alert.id, alert.kind, alert.topic) == ("gap-abc-evicted-1-9", Kind.ALERT, "up/alert")
    said = msgspec.json.decode(alert.payload)
    assert said == {
        "id": "gap-abc-evicted-1-9",
        "code": "spool.gap",
        "subject": "",
        "event": "once",
        "severity": "warning",
        "message": "4 samples were evicted before they were sent",
        "at": 9.5,
        "uptime_s": None,
        "ends": None,
        "lasted_s": None,
        "spool": "abc",
        "reason": "evicted",
        "first_seq": 1,
        "last_seq": 9,
        "first_s": 5.0,
        "last_s": 8.0,
        "count": 4,
        "size": 900,
    }
