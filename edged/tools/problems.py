"""Which problems the device has, and when each begins and ends. Pure: the same facts give the same alerts.

A problem begins once its signs were there for `confirm_s`, and ends once they were gone for its calm time, which
doubles with every relapse: whatever flaps, a problem alerts less than two hundred times a day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from edged.links.mqtt.people.vitals import Severity
from edged.tools.diagnosis import BUSY, CALLERS

MiB: Final = 1 << 20
DISK_LOW_BYTES: Final = (256 * MiB, 384 * MiB)
"""Begins below, ends above; a model installed leaves 64 MiB to others."""
FAILING_WINDOW_S: Final = 300.0
FAILING_CALLS: Final = (3, 1)
"""Faulty calls within the window with which it begins, and goes on."""
FAILING_SHARE: Final = (0.2, 0.05)
"""Likewise their share of all calls that ran."""
MARK_S: Final = 10.0
"""How finely the window is kept."""
RELAPSE_S: Final = 3600.0
"""A problem that begins again so soon after its end has relapsed."""
CALM_MAX_S: Final = 3600.0
WATCHED_MAX: Final = 128
WEAK: Final = frozenset({"tpm-sw", "credential-host", "hostfile"})
"""Protections of keys that a copy of the disk, or another program on the machine, gets past."""


class Kind(NamedTuple):
    """One sort of problem."""

    severity: Severity
    means: str
    """For the table in docs/telemetry.md."""
    calm_s: float = 60.0
    confirm_s: float = 0.0


CODES: Final[Mapping[str, Kind]] = {
    "heat.hot": Kind("warning", "within 6 K of where the board slows itself down"),
    "heat.critical": Kind("critical", "beyond that point: doing less has not been enough"),
    "battery.low": Kind("warning", "on battery, 20 % or less"),
    "battery.critical": Kind("critical", "on battery, 10 % or less"),
    "supply.undervoltage": Kind("critical", "the board saw its supply voltage break down"),
    "cpu.throttled": Kind("warning", "firmware or kernel is slowing the CPU down"),
    "memory.short": Kind("warning", "little memory left, or tasks wait for it"),
    "memory.starved": Kind("critical", "next the kernel kills a process"),
    "disk.low": Kind("warning", "less than 256 MiB free where the state lies", 300.0),
    "sensor.silent": Kind("warning", "a sensor that answered answers no more", 60.0, 15.0),
    "sensor.frozen": Kind("warning", "a temperature stands still while the load does not", 60.0, 15.0),
    "model.failing": Kind("critical", "a fifth of a model's calls fail, and the device is at fault", 300.0),
    "model.quarantined": Kind(
        "warning", "a version is barred: it killed the daemon, or its files are damaged"
    ),
    "spool.evicting": Kind("warning", "records are given up: the outbox is full, or they are too old", 600.0),
    "spool.disk": Kind("critical", "the outbox cannot be written: what is to be told waits in memory"),
    "keys.weak": Kind("info", "what protects the keys does not protect them from a copy of the disk"),
    "keys.unavailable": Kind("critical", "what holds the keys does not answer, or is not the one enrolled"),
    "identity.twin": Kind("critical", "another device answers to this one's id", 600.0),
}
GROUPS: Final = tuple(dict.fromkeys(code.partition(".")[0] for code in CODES))
"""What may have problems."""

NEVER: Final = frozenset({"powered down", "not ready"})
"""Why a reading may be unknown without anything being wrong."""


class ModelFacts(NamedTuple):
    """What a model did since the daemon started."""

    answered: int
    faults: int
    """Calls that the device failed at, not those that were wrong or came at the wrong moment."""

    @classmethod
    def of(cls, answered: int, errors: Mapping[str, int]) -> ModelFacts:
        """From errors by name."""
        return cls(answered, sum(n for name, n in errors.items() if name not in CALLERS | BUSY))


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What problems are seen by; None is unknown."""

    bands: Mapping[str, str] = {}
    """The governor's, by cause; nominal ones left out."""
    cause: str = ""
    """The one that decided."""
    reason: str = ""
    """And how, in words that stay the same as long as the band does."""
    undervoltage_events: int | None = None
    silent: Mapping[str, str] = {}
    """Sensors that were known once and are not, with why."""
    frozen: Mapping[str, str] = {}
    """Sensors that stand still while the load does not, with what is said of them."""
    disk_free_bytes: int | None = None
    models: Mapping[str, ModelFacts] = {}
    barred: Mapping[str, str] = {}
    """Quarantined versions, "name version", with why."""
    evicted: int | None = None
    """Records that the spool has given up, ever more."""
    spool_error: str | None = None
    """Why the spool cannot be written."""
    keys: str | None = None
    """What protects the keys."""
    keys_error: str | None = None
    twin: str | None = None
    """What is known of another device with this one's id."""


class Key(NamedTuple):
    """Which problem."""

    code: str
    subject: str = ""


class Watch(NamedTuple):
    """What is remembered of one problem."""

    words: str
    first_s: float
    """When its signs were first there."""
    begun: bool = False
    calm_since_s: float | None = None
    """Since when its signs are gone."""
    relapses: int = 0


class Mark(NamedTuple):
    """A model's counts at a moment."""

    at_s: float
    did: ModelFacts


class State(NamedTuple):
    """What is remembered from look to look; start with `NOTHING`."""

    watches: Mapping[Key, Watch] = {}
    marks: Mapping[str, tuple[Mark, ...]] = {}
    undervoltage_events: int | None = None
    evicted: int | None = None


NOTHING: Final = State()


class Change(NamedTuple):
    """A problem that begins or ends."""

    key: Key
    begins: bool
    severity: Severity
    words: str
    lasted_s: float = 0.0


def step(state: State, facts: Facts, now: float, mute: Collection[str] = ()) -> tuple[State, list[Change]]:
    """The next state and what began or ended; `now` in seconds, never less than at the call before."""
    marks = _marked(state.marks, facts.models, now)
    seen = {
        key: words for key, words in _signs(state._replace(marks=marks), facts, now) if key.code not in mute
    }
    watches: dict[Key, Watch] = {}
    changes: list[Change] = []
    for key in [*state.watches, *(key for key in seen if key not in state.watches)]:
        before = state.watches.get(key)
        if before is None and len(watches) >= WATCHED_MAX:
            continue
        after, change = _watch(key, before, seen.get(key), now)
        if after is not None:
            watches[key] = after
        if change is not None:
            changes.append(change)
    counted = (
        _latest(facts.undervoltage_events, state.undervoltage_events),
        _latest(facts.evicted, state.evicted),
    )
    return State(watches, marks, *counted), sorted(changes)


def _watch(
    key: Key, before: Watch | None, words: str | None, now: float
) -> tuple[Watch | None, Change | None]:
    kind = CODES[key.code]
    if words is not None:
        return _present(key, kind, before, words, now)
    if before is None:
        return None, None
    since = now if before.calm_since_s is None else before.calm_since_s
    if (
        not before.begun
    ):  # over, or its signs were not there for long enough; either is remembered for a relapse
        return (before._replace(calm_since_s=since) if now - since < RELAPSE_S else None), None
    if now - since < min(CALM_MAX_S, kind.calm_s * 2**before.relapses):
        return before._replace(calm_since_s=since), None
    ended = before._replace(begun=False, calm_since_s=now)
    return ended, Change(key, False, kind.severity, before.words, since - before.first_s)


def _present(
    key: Key, kind: Kind, before: Watch | None, words: str, now: float
) -> tuple[Watch, Change | None]:
    if before is not None and before.begun:
        return before._replace(calm_since_s=None), None
    if before is None:
        before = Watch(words, now)
    elif before.calm_since_s is not None:
        before = Watch(words, now, relapses=min(before.relapses + 1, 12))
    if now - before.first_s < kind.confirm_s:
        return before, None
    return before._replace(begun=True), Change(key, True, kind.severity, before.words)


# what the facts say


def _signs(state: State, facts: Facts, now: float) -> Iterator[tuple[Key, str]]:
    """Every problem there are signs of, with the words for it; of what is unknown, as it was."""
    yield from _of_bands(facts)
    events, before = facts.undervoltage_events, state.undervoltage_events
    if "supply" in facts.bands or (events is not None and before is not None and events > before):
        yield Key("supply.undervoltage"), "the supply voltage broke down: a better supply or cable is needed"
    for key, why in facts.silent.items():
        yield Key("sensor.silent", key), f"{key} is silent: {why}"
    for key, why in facts.frozen.items():
        yield Key("sensor.frozen", key), f"{key} is {why}"
    yield from _of_disk(state, facts.disk_free_bytes)
    for name in facts.models:
        yield from _of_model(state, name, now)
    for version, why in facts.barred.items():
        yield Key("model.quarantined", version), f"{version} is barred: {why}"
    if facts.evicted is not None and state.evicted is not None and facts.evicted > state.evicted:
        yield Key("spool.evicting"), "records are given up before they were sent"
    if facts.spool_error is not None:
        yield Key("spool.disk"), facts.spool_error
    yield from _of_keys(facts)
    if facts.twin is not None:
        yield Key("identity.twin"), facts.twin


BANDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("heat", "hot"): ("heat.hot",),
    ("heat", "critical"): ("heat.hot", "heat.critical"),
    ("battery", "low"): ("battery.low",),
    ("battery", "critical"): ("battery.low", "battery.critical"),
    ("memory", "short"): ("memory.short",),
    ("memory", "starved"): ("memory.short", "memory.starved"),
    ("throttling", "throttled"): ("cpu.throttled",),
}
"""A worse band has the problems of the milder ones too, so that going up ends nothing."""


def _of_bands(facts: Facts) -> Iterator[tuple[Key, str]]:
    for pair in facts.bands.items():
        decided = pair[0] == facts.cause
        for code in BANDS.get(pair, ()):
            yield Key(code), facts.reason if decided else CODES[code].means


def _of_disk(state: State, free_bytes: int | None) -> Iterator[tuple[Key, str]]:
    key = Key("disk.low")
    there = _begun(state, key)
    if free_bytes is None:
        if there:
            yield key, ""
    elif free_bytes < DISK_LOW_BYTES[there]:
        yield key, f"{free_bytes / MiB:.0f} MiB are free where the state lies"


def _of_model(state: State, name: str, now: float) -> Iterator[tuple[Key, str]]:
    key = Key("model.failing", name)
    marks = state.marks[name]
    oldest, newest = marks[0].did, marks[-1].did
    faults = newest.faults - oldest.faults
    ran = faults + newest.answered - oldest.answered
    there = _begun(state, key)
    if faults >= FAILING_CALLS[there] and faults >= FAILING_SHARE[there] * ran:
        yield key, f"{faults} of {ran} calls of {name} failed in {now - marks[0].at_s:.0f} s"


def _of_keys(facts: Facts) -> Iterator[tuple[Key, str]]:
    if facts.keys_error is not None:
        yield Key("keys.unavailable"), facts.keys_error
    if facts.keys in WEAK:
        yield Key("keys.weak"), f"keys are protected by {facts.keys}"


def _begun(state: State, key: Key) -> bool:
    watch = state.watches.get(key)
    return watch is not None and watch.begun


def _marked(
    marks: Mapping[str, tuple[Mark, ...]], models: Mapping[str, ModelFacts], now: float
) -> dict[str, tuple[Mark, ...]]:
    """The counts over the window: the last mark is of now, the first at most as old as the window."""
    return {name: _slide(marks.get(name, ()), Mark(now, did)) for name, did in models.items()}


def _slide(marks: tuple[Mark, ...], newest: Mark) -> tuple[Mark, ...]:
    kept = [mark for mark in marks if newest.at_s - mark.at_s <= FAILING_WINDOW_S]
    if len(kept) > 1 and kept[-1].at_s - kept[-2].at_s < MARK_S:
        kept.pop()
    return (*kept, newest)


def _latest(now: int | None, before: int | None) -> int | None:
    return before if now is None else now
