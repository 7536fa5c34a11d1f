"""What the device tells people of itself, as JSON documents on `edged/v1/{device}/up/…`. Pure.

`docs/telemetry.md` lists every field. A field is added, never renamed or given another meaning; None is unknown or
absent, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

ROOT: Final = "edged/v1"
FORMAT: Final = 1
JSON: Final = "application/json"

Severity = Literal["info", "warning", "critical"]


class Topics(msgspec.Struct, frozen=True):
    """Where a device says what."""

    device: str

    @property
    def status(self) -> str:
        """Retained; the connection's will changes it to offline."""
        return f"{ROOT}/{self.device}/up/status"

    @property
    def now(self) -> str:
        """Retained: the newest sample."""
        return f"{ROOT}/{self.device}/up/now"

    @property
    def telemetry(self) -> str:
        """Samples, many in a message, by the spool."""
        return f"{ROOT}/{self.device}/up/telemetry"

    @property
    def alert(self) -> str:
        """The beginning and the end of each problem, by the spool."""
        return f"{ROOT}/{self.device}/up/alert"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who speaks; the same in every document of one start of the daemon."""

    device: str
    """Its id, as in the topics: no `/`, `+` or `#`."""
    version: str
    """Of the daemon."""
    board: str
    """The board in words."""
    boot_id: str
    """One boot of the machine."""
    start_id: str
    """One start of the daemon, never used again: what makes the ids of alerts and samples unique."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A problem begins or ends, or something has happened that nothing ends: `up/alert`."""

    id: str
    """Unique for good: an alert that arrives twice is one."""
    code: str
    """What kind of problem, one of the table in docs/telemetry.md."""
    subject: str = ""
    """What has it, where there may be several: a model, a sensor."""
    event: Literal["begin", "end", "once"]
    severity: Severity
    message: str
    """In words, as it began."""
    at: float
    """Seconds since 1970, as far as the board knew."""
    uptime_s: float | None
    """Seconds since the daemon's start: right even where the clock was not. None where the spool says it."""
    ends: str | None = None
    """The id of the alert with which it began, on its end."""
    lasted_s: float | None = None
    """Likewise, how long it was there."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the device is and what is wrong: `up/status`, published when it changes."""

    v: int = FORMAT
    state: Literal["online", "offline"]
    ended: Literal["stopped", "lost"] | None = None
    """Why it is offline: the daemon was stopped, or the broker lost it."""
    device: str
    version: str
    board: str
    boot_id: str
    start_id: str
    at: float | None = None
    """When this was said, seconds since 1970; None on what the broker says for a lost device."""
    uptime_s: float | None = None
    band: str | None = None
    """What the device holds work back by: nominal, warm, hot, critical; saving, low …"""
    cause: str | None = None
    """What decided: heat, battery, supply, memory, throttling; empty where nothing does."""
    reason: str | None = None
    """Which reading and which band decided, in words."""
    models: dict[str, str] = {}
    """The version that serves, by model."""
    keys: str | None = None
    """What protects the keys; None where there are none."""
    problems: Sequence[Alert] = ()
    """What has begun and not ended. After another `start_id` this list is the whole truth."""

    def differs(self, before: Status | None) -> bool:
        """Whether there is anything new in it but the time."""
        return before is None or self != msgspec.structs.replace(before, at=self.at, uptime_s=self.uptime_s)


class ModelSample(msgspec.Struct, frozen=True, kw_only=True):
    """A model that serves, since the sample before."""

    version: str
    variants: Sequence[str] = ()
    """In memory and ready."""
    rate_hz: float = 0.0
    """Answers a second."""
    p50_ms: float | None = None
    """Half of the answers took no longer, all stages together; None where there was none."""
    p99_ms: float | None = None
    waiting: int = 0
    """Calls queued or running at this moment."""
    errors: dict[str, int] = {}
    """Calls without an answer, by the error's name."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The device at one moment: what `up/telemetry` carries."""

    at: float
    """Seconds since 1970, as far as the board knew."""
    uptime_s: float
    band: str
    cause: str
    temperature_c: float | None = None
    """The hottest sensor."""
    temperatures: dict[str, float] = {}
    """Every sensor that answers, °C."""
    battery_pct: float | None = None
    mains: bool | None = None
    undervoltage_events: int | None = None
    """Since the daemon's start."""
    cpu_pct: float | None = None
    cpu_mhz: float | None = None
    load_1min: float | None = None
    memory_available_bytes: int | None = None
    rss_bytes: int | None = None
    """Of the daemon."""
    disk_free_bytes: int | None = None
    """Where the state lies."""
    models: dict[str, ModelSample] = {}


class Now(Sample, frozen=True, kw_only=True):
    """`up/now`: the newest sample, and what dashboards want beside it."""

    reason: str
    """Which reading and which band decided, in at most 255 characters."""
    active: str
    """The models that serve, each with its version, in at most 255 characters."""
    problem: dict[str, bool]
    """By what may have problems (the first half of an alert's code): whether it has one."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to tell at one moment."""

    status: Status
    now: Now
    alerts: Sequence[Alert] = ()
    """What began or ended since the look before."""
    has: frozenset[str] = frozenset()
    """Of "heat" and "battery", what the board has a sensor for, whether or not it answers at this moment."""


def offline(identity: Identity, ended: Literal["stopped", "lost"]) -> Status:
    """The status of a device that is not there any more."""
    return Status(
        state="offline",
        ended=ended,
        device=identity.device,
        version=identity.version,
        board=identity.board,
        boot_id=identity.boot_id,
        start_id=identity.start_id,
    )


def sample_of(now: Now) -> Sample:
    """The part of it that is kept."""
    return Sample(**{name: getattr(now, name) for name in Sample.__struct_fields__})


def encode(document: msgspec.Struct) -> bytes:
    """As JSON, its fields in the order of their declaration."""
    return msgspec.json.encode(document)
