"""The device as it is told on the broker: gathered from the rooms, as the resources are. Nothing here waits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from edged import __version__
from edged.inference import stats
from edged.limits import Limits
from edged.links.mqtt.people.vitals import Alert, Identity, Look, ModelSample, Now, Sample, Status
from edged.metrics import Histogram, Mark
from edged.power.readings import Readings, value
from edged.power.readings import Sample as Read
from edged.tools import board, problems
from edged.tools.documents import Work, loaded_of, work_of
from edged.tools.inventory import Installed
from edged.tools.problems import GROUPS, NEVER, Change, Facts, Key, ModelFacts

WORDS_MAX: Final = 255
"""Home Assistant takes no longer state."""
SENSORS: Final = ("heat.", "battery.percent", "supply.undervoltage")
"""Readings whose silence is a problem; what is derived from them is silent with them."""


def identify(device: str, root: Path = Path("/")) -> Identity:
    """Who this start of the daemon is."""
    found = board.look(root)
    try:
        boot_id = (root / "proc/sys/kernel/random/boot_id").read_text().strip()  # random(4)
    except OSError:
        boot_id = "unknown"
    return Identity(
        device=device,
        version=__version__,
        board=found.model or found.machine,
        boot_id=boot_id,
        start_id=secrets.token_hex(6),
    )


class Keys(NamedTuple):
    """What there is to say of the keys."""

    protection: str
    """As `edged.keys.backend.Protection`."""
    error: str | None = None
    """Why they cannot be used."""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked at every look."""

    limits: Callable[[], Limits]
    bands: Callable[[], Mapping[str, str]]
    readings: Callable[[], Read]
    inference: Callable[[], stats.Status | None]
    """None before the first model serves."""
    times: Callable[[], Mapping[str, Histogram]]
    models: Callable[[], Mapping[str, Installed]]
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Seconds since 1970."""
    keys: Callable[[], Keys | None] = lambda: None
    """None where there are none."""
    evicted: Callable[[], int | None] = lambda: None
    """Records that the spool has given up, ever more; None where there is no spool."""
    spool_error: Callable[[], str | None] = lambda: None
    """Why the spool cannot be written."""
    twin: Callable[[], str | None] = lambda: None
    """What is known of another device with this one's id."""


class _Done(NamedTuple):
    """A model's counts when the last sample was taken."""

    answered: int = 0
    errors: Mapping[str, int] = {}
    times: Mark | None = None


class Telemetry:
    """Looks at the device; for the event loop's thread."""

    def __init__(self, identity: Identity, sources: Sources, mute: Collection[str] = ()) -> None:
        self._identity, self._sources, self._mute = identity, sources, frozenset(mute)
        self._started_s = self._sampled_s = sources.clock()
        self._done: dict[str, _Done] = {}
        self._problems = problems.NOTHING
        self._open: dict[Key, Alert] = {}
        self._alerts = 0

    def look(self, *, sampled: bool) -> Look:
        """Everything there is to tell now; rates and latencies are since the last look that was `sampled`."""
        asked = self._sources
        now, inference, readings = asked.clock(), asked.inference(), asked.readings()
        models = {name: one for name, one in sorted(asked.models().items()) if one.active}
        work = {name: work_of(name, inference) for name in models}
        figures = {name: self._model(one, work[name], inference, now) for name, one in models.items()}
        sample = self._sample(now, readings, figures)
        alerts = self._follow(self._facts(readings, work), sample)
        if sampled:
            self._mark(work, now)
        return Look(
            status=self._status(sample),
            now=self._now(sample),
            alerts=alerts,
            has=frozenset(
                key.partition(".")[0] for key in readings if key.startswith(("heat.", "battery.percent"))
            ),
        )

    # what is there

    def _sample(self, now: float, readings: Read, models: dict[str, ModelSample]) -> Sample:
        limits, few = self._sources.limits(), Readings.of(readings)
        return Sample(
            at=round(self._sources.wall(), 3),
            uptime_s=round(now - self._started_s, 3),
            band=limits.band,
            cause=limits.cause,
            temperature_c=few.temperature_c,
            temperatures=_temperatures(readings),
            battery_pct=few.battery_pct,
            mains=few.mains,
            undervoltage_events=_whole(value(readings, "supply.undervoltage-events")),
            cpu_pct=value(readings, "cpu.busy"),
            cpu_mhz=few.cpu_mhz,
            load_1min=few.load_1min,
            memory_available_bytes=few.memory_available_bytes,
            rss_bytes=few.rss_bytes,
            disk_free_bytes=_whole(value(readings, "disk.free")),
            models=models,
        )

    def _model(
        self, installed: Installed, did: Work, inference: stats.Status | None, now: float
    ) -> ModelSample:
        name = installed.name
        before = self._done.get(name, _Done())
        times = self._sources.times().get(name)
        p50_ms, p99_ms = (times.since(before.times, 0.5, 0.99) if times else None) or (None, None)
        loaded = loaded_of(name, inference)
        elapsed_s = max(1.0, now - self._sampled_s)
        return ModelSample(
            version=installed.active.slot.version if installed.active else "",
            variants=[one.variant for one in loaded if one.state == "ready"],
            rate_hz=round((did.answered - before.answered) / elapsed_s, 3),
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            waiting=sum(one.waiting for one in loaded),
            errors={e: more for e, n in did.errors.items() if (more := n - before.errors.get(e, 0))},
        )

    def _mark(self, work: Mapping[str, Work], now: float) -> None:
        times = self._sources.times()
        self._sampled_s = now
        self._done = {
            name: _Done(did.answered, did.errors, times[name].mark() if name in times else None)
            for name, did in work.items()
        }

    def _now(self, sample: Sample) -> Now:
        names = [f"{name} {model.version}" for name, model in sorted(sample.models.items())]
        troubled = {key.code.partition(".")[0] for key in self._open}
        return Now(
            **{name: getattr(sample, name) for name in Sample.__struct_fields__},
            reason=_clipped(self._sources.limits().reason),
            active=_clipped(", ".join(names) or "none"),
            problem={group: group in troubled for group in GROUPS},
        )

    def _status(self, sample: Sample) -> Status:
        keys = self._sources.keys()
        me = self._identity
        return Status(
            state="online",
            device=me.device,
            version=me.version,
            board=me.board,
            boot_id=me.boot_id,
            start_id=me.start_id,
            at=sample.at,
            uptime_s=sample.uptime_s,
            band=sample.band,
            cause=sample.cause,
            reason=self._sources.limits().reason,
            models={name: model.version for name, model in sorted(sample.models.items())},
            keys=keys.protection if keys else None,
            problems=list(self._open.values()),
        )

    # what is wrong

    def _facts(self, readings: Read, work: Mapping[str, Work]) -> Facts:
        limits, keys = self._sources.limits(), self._sources.keys()
        silent, frozen = _silent(readings)
        return Facts(
            bands=self._sources.bands(),
            cause=limits.cause,
            reason=limits.reason,
            undervoltage_events=_whole(value(readings, "supply.undervoltage-events")),
            silent=silent,
            frozen=frozen,
            disk_free_bytes=_whole(value(readings, "disk.free")),
            models={name: ModelFacts.of(did.answered, did.errors) for name, did in work.items()},
            barred=_barred(self._sources.models()),
            evicted=self._sources.evicted(),
            spool_error=self._sources.spool_error(),
            keys=keys.protection if keys else None,
            keys_error=keys.error if keys else None,
            twin=self._sources.twin(),
        )

    def _follow(self, facts: Facts, sample: Sample) -> list[Alert]:
        self._problems, changes = problems.step(self._problems, facts, self._sources.clock(), self._mute)
        return [self._alert(change, sample) for change in changes]

    def _alert(self, change: Change, sample: Sample) -> Alert:
        self._alerts += 1
        began = None if change.begins else self._open.pop(change.key)
        alert = Alert(
            id=f"{self._identity.start_id}-{self._alerts}",
            code=change.key.code,
            subject=change.key.subject,
            event="begin" if change.begins else "end",
            severity=change.severity,
            message=_clipped(change.words),
            at=sample.at,
            uptime_s=sample.uptime_s,
            ends=began.id if began else None,
            lasted_s=None if change.begins else round(change.lasted_s, 3),
        )
        if change.begins:
            self._open[change.key] = alert
        return alert


def _temperatures(readings: Read) -> dict[str, float]:
    return {
        key.removeprefix("heat."): reading.value
        for key, reading in sorted(readings.items())
        if key.startswith("heat.") and reading.value is not None
    }


def _silent(readings: Read) -> tuple[dict[str, str], dict[str, str]]:
    """The sensors that were known once and are not, and those that stand still; each with what is said of it."""
    unknown = {
        key: reading
        for key, reading in sorted(readings.items())
        if reading.value is None
        and reading.age_s > 0
        and reading.note not in NEVER
        and key.startswith(SENSORS)
    }
    frozen = {key: "frozen" for key, reading in unknown.items() if reading.note.startswith("frozen")}
    return {key: r.note for key, r in unknown.items() if key not in frozen}, frozen


def _barred(models: Mapping[str, Installed]) -> dict[str, str]:
    return {
        f"{name} {version.slot.version}": version.slot.reason or "unknown"
        for name, installed in models.items()
        for version in installed.versions
        if version.slot.state.value == "quarantined"
    }


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _clipped(words: str) -> str:
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "…"
