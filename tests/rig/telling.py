"""A device that a test makes hot, busy or broken, told as the daemon tells it; and a house that listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from edged.errors import StorageError, TooLarge
from edged.inference import stats
from edged.inference.models.library import Slot, State
from edged.limits import Limits
from edged.links.mqtt.values import Publication
from edged.links.mqtt.vitals import Identity
from edged.links.spool.values import Record
from edged.metrics import Histogram
from edged.power.bands import COMMON, heat
from edged.power.bands import Rule as PowerRule
from edged.power.governor import NOTHING, bands, step
from edged.power.ledger import Ledger
from edged.power.readings import Raw
from edged.power.readings import Sample as Read
from edged.tasks import Latest
from edged.tools.inventory import Installed, Version
from edged.tools.telemetry import Keys, Sources, Telemetry

GiB = 1 << 30
EPOCH_S = 1_790_000_000.0
RULES = [PowerRule("heat.cpu-thermal", "heat", heat(80.0), required=True, unit=" °C"), *COMMON]
ME = Identity(device="lab-7", version="0.4.0", board="Raspberry Pi 4", boot_id="b0071d", start_id="57a27")
RAWS = {
    "heat.cpu-thermal": 48.5,
    "cpu.busy": 12.0,
    "cpu.load": 0.4,
    "cpu.frequency": 1500.0,
    "memory.available": 3.0 * GiB,
    "memory.total": 4.0 * GiB,
    "memory.rss": 90e6,
    "disk.free": 8.0 * GiB,
    "supply.undervoltage": 0.0,
}


class Device:
    """Real ledger, governor and histograms over what a test says is read and run."""

    def __init__(self, *, mute: Iterable[str] = (), identity: Identity = ME) -> None:
        self.identity = identity
        self.now_s = 5000.0
        self.raws: dict[str, float | None] = dict(RAWS)
        self.limits = Latest(Limits())
        self.keys: Keys | None = None
        self.evicted: int | None = 0
        self.spool_error: str | None = None
        self.twin: str | None = None
        self.ask_twin: Callable[[], str | None] = lambda: self.twin
        self.models: dict[str, Installed] = {}
        self.loaded: list[stats.ModelStatus] = []
        self.worked: dict[str, stats.ModelStats] = {}
        self._ledger, self._state = Ledger(), NOTHING
        self._read: Read = {}
        self.sense()
        self.telemetry = Telemetry(identity, self._sources(), tuple(mute))

    def install(
        self, name: str, version: str = "1.0", state: State = State.ACTIVE, reason: str | None = None
    ) -> None:
        slot = Slot(name=name, version=version, state=state, reason=reason)
        before = self.models[name].versions if name in self.models else ()
        self.models[name] = Installed(name, (*before, Version(slot, None)), ())

    def work(self, name: str, answers: int, ms: float, **errors: int) -> None:
        """Let a model answer, each in so many milliseconds, and fail."""
        did = self.worked.setdefault(name, stats.ModelStats())
        for _ in range(answers):
            did.outcomes.add("answered")
            did.stages["total"].record(ms)
        for error, count in errors.items():
            did.outcomes.add(error, count)

    def sense(self, **changes: float | None) -> None:
        """Look at the board, where these read otherwise (`heat__cpu-thermal` as `heat_cpu`: see `RAWS`)."""
        names = {key.replace(".", "_").replace("-", "_"): key for key in self.raws}
        self.raws |= {names[name]: value for name, value in changes.items()}
        raws = [Raw(key, value, "", key, "gone" if value is None else "") for key, value in self.raws.items()]
        self._read = self._ledger.update(raws, self.now_s)
        self._state, limits = step(RULES, self._state, self._read, self.now_s)
        self.limits.set(limits)

    def forward(self, seconds: float) -> None:
        self.now_s += seconds

    def _sources(self) -> Sources:
        return Sources(
            limits=lambda: self.limits.value,
            bands=lambda: bands(RULES, self._state),
            readings=lambda: self._read,
            inference=self._inference,
            times=self._times,
            models=lambda: self.models,
            clock=lambda: self.now_s,
            wall=lambda: EPOCH_S + self.now_s,
            keys=lambda: self.keys,
            evicted=lambda: self.evicted,
            spool_error=lambda: self.spool_error,
            twin=self._twin,
        )

    def _twin(self) -> str | None:
        return self.ask_twin()

    def _inference(self) -> stats.Status | None:
        return stats.Status(
            models=self.loaded,
            memory_bytes=0,
            memory_budget_bytes=1,
            in_hand=0,
            outcomes={name: did.outcomes.by_name() for name, did in self.worked.items()},
            stages={},
            loading_s=0.0,
        )

    def _times(self) -> dict[str, Histogram]:
        return {name: did.stages["total"] for name, did in self.worked.items()}


@dataclass
class Disk:
    """A spool's promise, kept in memory: `broken` refuses all, `rejects` one by its id."""

    records: dict[str, Record] = field(default_factory=dict)
    broken: bool = False
    rejects: str = ""
    puts: int = 0

    async def put(self, *records: Record) -> None:
        self.puts += 1
        await asyncio.sleep(0)
        if self.broken:
            raise StorageError("no space left on device")
        if self.rejects in {record.id for record in records}:
            raise TooLarge("too large")
        self.records |= {record.id: record for record in records if record.id not in self.records}

    def documents(self, topic: str) -> list[dict[str, object]]:
        return [msgspec.json.decode(r.payload) for r in self.records.values() if r.topic.endswith(topic)]


@dataclass
class House:
    """A broker with somebody listening: what was published, and what is retained."""

    said: list[Publication] = field(default_factory=list)
    code: int = 0
    fault: Exception | None = None

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.fault is not None:
            done.set_exception(self.fault)
        else:
            self.said.append(publication)
            done.set_result(self.code)
        return done

    def topics(self) -> list[str]:
        return [publication.topic for publication in self.said]

    def newest(self, topic: str) -> dict[str, object]:
        return msgspec.json.decode(
            next(p.payload for p in reversed(self.said) if p.topic == topic), type=dict
        )
