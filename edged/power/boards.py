"""What board this is: profiles in `hardware/*.toml`, matched by the device tree. Pure: texts in, a `Board` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from edged.checking import Problem, parse
from edged.power.bands import COMMON, Rule, heat
from edged.power.ledger import GAUGE_VOLTAGE, Gauge
from edged.power.readings import Sample, value

Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Source = Annotated[str, Meta(pattern="^(https://|derived: |chosen: )", min_length=12)]
Glob = Annotated[str, Meta(min_length=1, max_length=80)]
Celsius = Annotated[float, Meta(ge=40, le=120)]

GENERIC_THROTTLE_C = 80.0
"""Where neither profile nor kernel says: the lowest that any board we know throttles at."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure and where it is from; "derived:" says from what, "chosen:" why."""

    value: float
    source: Source


class Heat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which temperatures govern, and where the board slows itself down, °C."""

    sensors: Annotated[list[Glob], Meta(min_length=1)]
    """Names (without `heat.`) of what must be heard; silence counts one band hotter."""
    also: list[Glob] = []
    """What governs where it is there: a block that powers down, a second die."""
    throttle_c: Fact | None = None
    """None takes the kernel's own trip of each sensor, else 80 °C."""
    stop_c: Fact | None = None
    """Where it powers down."""
    soft_limit_c: Fact | None = None
    """Where it lowers its clock a little to last longer; it does not govern."""


class Electric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it draws and needs; for forecasts and for whoever chooses a battery."""

    idle_w: Fact | None = None
    load_w: Fact | None = None
    undervoltage_v: Fact | None = None
    """Where its detector trips, if it has one."""


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of `hardware/`."""

    name: Name
    title: str
    compatible: list[Glob]
    """Device-tree compatible strings, exact or globs; a longer match wins over a shorter one."""
    machine: list[Glob] = []
    """uname -m, where there is no device tree."""
    heat: Heat
    electric: Electric = Electric()
    notes: list[str] = []


class Overlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of `hardware/overlays/`: a battery that was added to a board."""

    name: Name
    title: str
    readings: Annotated[dict[Glob, Glob], Meta(min_length=1)]
    """It is there when each of these readings comes from a source that is called so; globs both."""
    source: Source
    gauge: Gauge | None = None
    """Where it shows a voltage only."""
    notes: list[str] = []


class Match(NamedTuple):
    """The profile chosen, and by what."""

    board: Board
    by: str


class Library(NamedTuple):
    """Everything in `hardware/`."""

    boards: Mapping[str, Board]
    overlays: Mapping[str, Overlay]


def library(
    boards: Mapping[str, str], overlays: Mapping[str, str]
) -> tuple[Library | None, list[tuple[str, Problem]]]:
    """From file names and texts: every profile, or None and every problem with its file."""
    problems: list[tuple[str, Problem]] = []
    made = Library(_parsed(boards, Board, problems), _parsed(overlays, Overlay, problems))
    return (None, problems) if problems else (made, [])


def identify(library: Library, compatible: Sequence[str], machine: str, wanted: str = "auto") -> Match:
    """The profile of this board; the generic one of its machine where none is closer.

    Raises KeyError for a `wanted` that is not there.
    """
    if wanted != "auto":
        return Match(library.boards[wanted], "the config names it")
    said_any = ", ".join(compatible)
    ranked = [
        (rank, -len(glob), board.name, said)
        for rank, said in enumerate(compatible)
        for board in library.boards.values()
        for glob in board.compatible
        if fnmatchcase(said, glob)
    ]
    if ranked:
        _, _, name, said = min(ranked)
        return Match(library.boards[name], f"device tree: {said}")
    for board in library.boards.values():
        if not said_any and any(fnmatchcase(machine, glob) for glob in board.machine):
            return Match(board, f"machine: {machine}")
    return Match(library.boards["generic-arm"], f"nothing closer is known of {said_any or machine}")


def attached(library: Library, sample: Sample, wanted: Iterable[str] = ()) -> list[Overlay]:
    """The overlays that are there, or that the config names."""
    named = set(wanted)
    return [
        overlay
        for overlay in library.overlays.values()
        if overlay.name in named or _attached(overlay, sample)
    ]


def rules(board: Board, sample: Sample) -> list[Rule]:
    """What governs on this board, with what its sensors were found to be."""
    found = [key for key in sorted(sample) if key.startswith("heat.")]
    governing = [
        Rule(key, "heat", heat(throttle_c(board, key, sample)[0]), required=required, unit=" °C")
        for key in found
        for required in [_among(key, board.heat.sensors)]
        if required or _among(key, board.heat.also)
    ]
    return [*governing, *COMMON]


def throttle_c(board: Board, key: str, sample: Sample) -> tuple[float, str]:
    """Where the board slows down by this sensor, and who says so."""
    if board.heat.throttle_c is not None:
        return board.heat.throttle_c.value, board.heat.throttle_c.source
    trip = value(sample, "trip." + key.removeprefix("heat."))
    if trip is not None:
        return trip, sample["trip." + key.removeprefix("heat.")].source
    return GENERIC_THROTTLE_C, "chosen: the lowest that any known board throttles at"


def missing(board: Board, sample: Sample) -> list[str]:
    """What the profile asks for, where nothing answers to any of it."""
    wanted = [f"heat.{glob}" for glob in board.heat.sensors]
    return [] if any(_any(sample, glob) for glob in wanted) else wanted


P = TypeVar("P", Board, Overlay)


def _parsed(texts: Mapping[str, str], kind: type[P], problems: list[tuple[str, Problem]]) -> dict[str, P]:
    made: dict[str, P] = {}
    for file, text in texts.items():
        one, found = parse(text, kind)
        problems += [(file, problem) for problem in found]
        if one is not None and one.name != file.removesuffix(".toml"):
            problems.append(
                (file, Problem("name", 1, f"must be the file's own: {file.removesuffix('.toml')}"))
            )
        elif one is not None:
            made[one.name] = one
    return made


def _attached(overlay: Overlay, sample: Sample) -> bool:
    found = [
        next((r for key, r in sample.items() if fnmatchcase(key, of) and fnmatchcase(r.source, source)), None)
        for of, source in overlay.readings.items()
    ]
    if not all(found):
        return False
    volts = value(sample, GAUGE_VOLTAGE)
    return overlay.gauge is None or volts is None or overlay.gauge.fits(volts)


def _among(key: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(key, f"heat.{glob}") for glob in globs)


def _any(sample: Sample, glob: str) -> bool:
    return any(fnmatchcase(key, glob) for key in sample)
