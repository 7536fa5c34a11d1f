"""What in the device's own figures may explain that it is slow, hot or failing. Pure.

Each finding is one sentence with its figures, worst first, and where to read more. None is a verdict: a figure that
is missing gives no finding, and an empty list means that nothing recorded explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from edged.limits import UNCONSTRAINED
from edged.tools.documents import DeviceDocument, ModelDocument, Work
from edged.tools.readings import hottest, value
from edged.tools.uris import DEVICE, METRICS, NETWORK

MiB: Final = 1 << 20
ENOUGH_ANSWERS: Final = 100
"""Below so many the 99th percentile says nothing."""
SHARE: Final = 0.5
"""A stage that takes more of the time than this is named."""
SPREAD: Final = 10.0
"""Times the median that the 99th percentile may be before it is named."""
FULL: Final = 0.75
"""Share of the models' budget from which it counts as full."""
LOW_MEMORY: Final = 0.05
"""Share of the board's memory below which what is left is named."""

# What a caller's own request causes; the others are the device's.
CALLERS: Final = frozenset(
    {"BadArgument", "BadPicture", "BadSound", "TooLarge", "NotFound", "NotAllowed", "cancelled"}
)
BUSY: Final = frozenset({"Overloaded", "Throttled", "DeadlineExceeded", "NotReady"})

STAGE_ADVICE: Final = {
    "queue": "calls wait for one another: send fewer at once, or with a deadline",
    "decode": "send smaller pictures, or raw pixels through a registered mapping",
    "preprocess": "see engine.kernels in edged://device",
    "invoke": "this is the model itself: a cheaper variant or a smaller input would help",
    "postprocess": "ask for fewer results: threshold, top_k",
}


class Finding(NamedTuple):
    """One thing that may be the cause."""

    says: str
    uri: str


class Figures(NamedTuple):
    """What a diagnosis looks at: the device, and the models in question."""

    device: DeviceDocument
    models: Sequence[ModelDocument]
    memory_bytes: int
    """Of all loaded models."""
    memory_budget_bytes: int | None
    network: Sequence[str] = ()
    """What is wrong with the connections to brokers."""


def slow(figures: Figures) -> list[Finding]:
    """Why answers may take long."""
    return [
        *_limits(figures.device),
        *_engine(figures.device),
        *_load(figures.device),
        *(finding for model in figures.models for finding in _slow_model(model)),
        *_crowded(figures),
    ]


def hot(figures: Figures) -> list[Finding]:
    """What may heat the board, and what it does about that."""
    return [
        *_heat(figures.device),
        *_limits(figures.device),
        *_load(figures.device),
        *_busiest(figures.models),
    ]


def failing(figures: Figures) -> list[Finding]:
    """What went wrong, the device's own faults first."""
    models = figures.models
    return [
        *(finding for model in models for finding in _barred(model)),
        *(finding for model in models for finding in _errors(model, ours=True)),
        *_memory(figures.device),
        *_limits(figures.device),
        *(Finding(f"Network: {trouble}.", NETWORK) for trouble in figures.network),
        *(finding for model in models for finding in _errors(model, ours=False)),
    ]


def usual(models: Sequence[ModelDocument], most: int) -> list[str]:
    """What the busiest models did, as a measure for anything else."""
    asked = [model for model in models if model.work.answered or model.work.errors]
    asked.sort(key=lambda model: model.work.answered, reverse=True)
    return [_did(model) for model in asked[:most]]


# the device


def _limits(device: DeviceDocument) -> Iterator[Finding]:
    limits = device.limits
    if limits != UNCONSTRAINED:
        share = "" if limits.duty is None else f"; inference may take {limits.duty:.0%} of the CPU's time"
        yield Finding(f"The device holds work back: {limits.reason}{share}.", DEVICE)


def _engine(device: DeviceDocument) -> Iterator[Finding]:
    engine = device.engine
    if engine and engine.kernels == "numpy":
        yield Finding(
            f"Pictures and sounds are prepared by plain numpy, up to 13 times slower ({engine.kernels_reason}); "
            "its owner can run `edged kernels build`.",
            DEVICE,
        )
    if engine and engine.runtime.startswith("tflite-runtime"):
        yield Finding(
            f"{engine.runtime} runs the models; int8 is far slower there than with ai-edge-litert.", DEVICE
        )


def _load(device: DeviceDocument) -> Iterator[Finding]:
    load = value(device.readings, "load.1min")
    if load is not None and load > device.board.cpus:
        yield Finding(
            f"{load:.1f} programs want {device.board.cpus} CPUs (load over a minute): others may take the time.",
            DEVICE,
        )


def _heat(device: DeviceDocument) -> Iterator[Finding]:
    if (heat := hottest(device.readings)) is None:
        yield Finding("The temperature is unknown: no sensor of this board answers.", DEVICE)
    else:
        yield Finding(f"The hottest sensor says {heat:.0f} °C.", DEVICE)


def _memory(device: DeviceDocument) -> Iterator[Finding]:
    left, total = value(device.readings, "memory.available"), device.board.memory_bytes
    if left is not None and total and left < LOW_MEMORY * total:
        yield Finding(f"{left / MiB:.0f} MiB of memory are left of {total / MiB:.0f}.", DEVICE)


def _crowded(figures: Figures) -> Iterator[Finding]:
    budget = figures.memory_budget_bytes
    unloaded = [model for model in figures.models if model.active and not model.loaded]
    if budget and unloaded and figures.memory_bytes > budget * FULL:
        yield Finding(
            f"Loaded models take {figures.memory_bytes / MiB:.0f} of {budget / MiB:.0f} MiB, and {len(unloaded)} "
            "more serve: they are loaded and unloaded in turn.",
            METRICS,
        )


# a model


def _slow_model(model: ModelDocument) -> Iterator[Finding]:
    total = model.work.stages.get("total")
    if total is None or not total.count:
        return
    stage, share = _largest_stage(model.work)
    if share > SHARE:
        yield Finding(
            f"{model.name}: {share:.0%} of {total.mean_ms:.1f} ms go into {stage}; {STAGE_ADVICE[stage]}.",
            model.uri,
        )
    if total.count >= ENOUGH_ANSWERS and total.p99_ms > SPREAD * total.p50_ms:
        yield Finding(
            f"{model.name}: half of the answers take {total.p50_ms:.1f} ms, one in a hundred {total.p99_ms:.1f} ms "
            "or more: it was loaded anew, or waited behind others.",
            model.uri,
        )
    if cheaper := _cheaper(model):
        yield Finding(f"{model.name}: {cheaper}.", model.uri)
    yield from _errors_of(model, BUSY, "calls were turned away")


def _did(model: ModelDocument) -> str:
    total = model.work.stages.get("total")
    half = f", half of them within {total.p50_ms:.3g} ms" if total and total.count else ""
    failed = sum(model.work.errors.values())
    return f"{model.name} answered {model.work.answered} calls{half}; {failed} failed."


def _largest_stage(work: Work) -> tuple[str, float]:
    """The stage that takes most of the time, and its share of it."""
    stages = {name: summary.mean_ms for name, summary in work.stages.items() if name != "total"}
    total = sum(stages.values())
    if not total:
        return "", 0.0
    name = max(stages, key=stages.__getitem__)
    return name, stages[name] / total


def _cheaper(model: ModelDocument) -> str:
    """What the manifest offers that costs less than its first variant."""
    version = next((v for v in model.versions if v.version == model.active), None)
    variants = version.variants if version else []
    if len(variants) < 2:
        return ""
    first, cheapest = variants[0], min(variants, key=lambda v: v.cost)
    if cheapest.cost >= first.cost:
        return ""
    return f"variant {cheapest.name} takes {cheapest.cost / first.cost:.2g} of the time of {first.name}"


def _busiest(models: Sequence[ModelDocument]) -> Iterator[Finding]:
    spent = {m.name: m.work.answered * _mean_ms(m.work) for m in models}
    if not (total := sum(spent.values())):
        return
    name = max(spent, key=spent.__getitem__)
    model = next(m for m in models if m.name == name)
    yield Finding(
        f"{name} did {spent[name] / total:.0%} of the work since the start: {model.work.answered} answers of "
        f"{_mean_ms(model.work):.1f} ms{_and(_cheaper(model))}.",
        model.uri,
    )


def _mean_ms(work: Work) -> float:
    """What an answer takes of the CPU, on average: all but waiting."""
    return sum(s.mean_ms for name, s in work.stages.items() if name not in ("total", "queue"))


def _barred(model: ModelDocument) -> Iterator[Finding]:
    barred = [version for version in model.versions if version.state == "quarantined"]
    serves = f"version {model.active} serves" if model.active else "no version of it serves"
    for version in barred:
        reason = (version.reason or "unknown").rstrip(".")
        yield Finding(f"{model.name} {version.version} is barred: {reason}; {serves}.", model.uri)
    if model.active is None and not barred:
        yield Finding(f"{model.name} is installed, and {serves}.", model.uri)


def _errors(model: ModelDocument, *, ours: bool) -> Iterator[Finding]:
    """Its errors: those of the device (`ours`), or those that a caller or the moment caused."""
    if ours:
        faults = frozenset(model.work.errors) - CALLERS - BUSY
        yield from _errors_of(model, faults, "calls failed, and the device is at fault")
    else:
        yield from _errors_of(model, BUSY, "calls were turned away, and may come again")
        yield from _errors_of(model, CALLERS, "calls were wrong, and would be again")


def _errors_of(model: ModelDocument, names: frozenset[str], what: str) -> Iterator[Finding]:
    found = {name: n for name, n in model.work.errors.items() if name in names}
    if found:
        kinds = ", ".join(f"{name} {n}" for name, n in found.items())
        total = model.work.answered + sum(model.work.errors.values())
        yield Finding(f"{model.name}: {sum(found.values())} of {total} {what} ({kinds}).", model.uri)


def _and(words: str) -> str:
    return f"; {words}" if words else ""
