"""What the owner of a device may set about its spool."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The durable outbox: what it may take of disk and network, and when a record has arrived."""

    ack: Literal["broker", "end-to-end"] = "broker"
    """Who says that an audit checkpoint, an alert or a config's outcome has arrived. `broker`: its PUBACK, and what a
    broker forgets when it is killed is lost. `end-to-end`: the fleet manager, on `edged/v1/<id>/dn/ack`; until then the
    record is kept and sent again. Default: broker, since without a fleet manager nothing would ever leave the disk."""
    budget_bytes: Annotated[int, Meta(ge=262_144, le=1 << 36)] = 64 * 1024 * 1024
    """Disk for records. Default: 64 MiB, weeks of telemetry every ten seconds; an SD card does not notice it."""
    record_max_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = DEFAULT_LIMIT_BYTES
    """Longest payload taken. Default: 128 KiB, what a broker that declares no limit is taken to accept."""
    telemetry_ttl_s: Annotated[float, Meta(gt=0)] = 7 * 86_400.0
    """Seconds after which telemetry is not worth sending, counted while the daemon runs. Default: a week."""
    rate_hz: Annotated[float, Meta(gt=0, le=10_000)] = 20.0
    """Messages a second while it drains. Default: 20, each with up to `batch_max` samples: no burst after a long
    time offline that a broker would cut off for."""
    in_flight: Annotated[int, Meta(ge=1, le=1000)] = 16
    """Messages sent and not acknowledged by the broker. Default: below mosquitto's 20."""
    batch_max: Annotated[int, Meta(ge=1, le=1000)] = 200
    """Telemetry samples in one message. Default: 200, where deflate has gained what it can."""
    batch_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """Seconds between two messages of telemetry while less than a full one waits. Default: a minute, so that samples
    travel together and deflate has something to gain."""
    compress_min_bytes: Annotated[int, Meta(ge=0)] = 1024
    """Payloads from this size are deflated where it saves a quarter. Default: 1 KiB; alerts stay readable."""
    daily_bytes: Annotated[int, Meta(ge=65_536)] | None = None
    """Bytes sent a UTC day. When they are spent, telemetry waits for the next day; what must not be lost does not.
    Default: no cap."""
    resend_s: Annotated[float, Meta(ge=1)] = 900.0
    """Seconds after which what the fleet manager has not acknowledged is sent again, and after each connect. Default: a
    quarter of an hour."""
    resend_hz: Annotated[float, Meta(gt=0, le=1000)] = 2.0
    """Messages a second that are sent again. Default: slow, since most of them have arrived."""
