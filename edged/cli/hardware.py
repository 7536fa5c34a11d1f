"""`edged hardware`: which board this is and why, what its sensors read, and what that does to the limits."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from edged.cli.run import load_config
from edged.cli.tables import show as print_answer
from edged.cli.tables import table
from edged.power import boards, hardware, sensors
from edged.power.bands import Rule
from edged.power.boards import Fact, Library, Match
from edged.power.config import PowerConfig
from edged.power.governor import NOTHING, step
from edged.power.ledger import Ledger
from edged.power.readings import Sample

PSI_HINT = "no pressure stall information: boot with psi=1"


def show(arguments: argparse.Namespace) -> int:
    """Print the matched profile, or all of them."""
    known = hardware.profiles()
    if arguments.all:
        return _show_all(known, as_json=arguments.json)
    config = load_config(arguments.config).power
    match = hardware.match(config, known)
    board = match.board
    answer: dict[str, Any] = {
        "board": board.name,
        "title": board.title,
        "matched_by": match.by,
        "model": hardware.model(Path(config.root)) or None,
        "facts": [
            {"fact": name, "value": fact.value, "source": fact.source} for name, fact in _facts(board).items()
        ],
        "notes": board.notes,
    }
    if arguments.json:
        print_answer(answer, as_json=True)
        return 0
    table(f"{board.title} ({board.name}), by {match.by}", ["fact", "value", "source"], [
        [fact["fact"], fact["value"], fact["source"]] for fact in answer["facts"]
    ])  # fmt: skip
    for note in board.notes:
        print(f"- {note}")
    return 0


def probe(arguments: argparse.Namespace) -> int:
    """Read everything once, in this process; the daemon need not run."""
    whole = load_config(arguments.config)
    config, known = whole.power, hardware.profiles()
    match = hardware.match(config, known)
    sample = _sample(config, known, Path(whole.paths.state))
    rules = boards.rules(match.board, sample)
    _, limits = step(rules, NOTHING, sample, monotonic())
    answer = {
        "board": match.board.name,
        "matched_by": match.by,
        "batteries": [overlay.title for overlay in boards.attached(known, sample, config.overlays)],
        "limits": msgspec.to_builtins(limits),
        "readings": [
            {"reading": key, "value": r.value, "unit": r.unit, "source": r.source, "note": r.note}
            for key, r in sorted(sample.items())
        ],
        "governing": [_rule(rule, match, sample) for rule in rules],
        "not_found": _not_found(match, sample),
    }
    if arguments.json:
        print_answer(answer, as_json=True)
    else:
        _print_probe(answer)
    return 0


def _sample(config: PowerConfig, known: Library, state: Path) -> Sample:
    disk = next(path for path in (state, *state.parents) if path.exists())
    reads = sensors.sources(Path(config.root), disk, Path(config.pisugar_socket))
    ledger = Ledger([overlay.gauge for overlay in known.overlays.values() if overlay.gauge is not None])
    now = monotonic()
    try:
        return ledger.update([raw for source in reads for raw in source.read(now)], now)
    finally:
        for source in reads:
            source.close()


def _rule(rule: Rule, match: Match, sample: Sample) -> dict[str, Any]:
    source = (
        boards.throttle_c(match.board, rule.reading, sample)[1] if rule.cause == "heat" else "every board"
    )
    return {
        "reading": rule.reading,
        "required": rule.required,
        "bands": ", ".join(
            f"{s.band} {'<=' if rule.falling else '>='} {s.enter:g} leave {s.leave:g}" for s in rule.steps
        ),
        "by": source,
    }


def _not_found(match: Match, sample: Sample) -> list[str]:
    """What would govern if it were there, and how to have it."""
    absent = [f"{glob}: the profile's own sensor" for glob in boards.missing(match.board, sample)]
    hints = {
        "battery.reserve": "no battery that the kernel or a PiSugar daemon shows",
        "supply.undervoltage": "no under-voltage detector (rpi_volt)",
        "pressure.memory.some": PSI_HINT,
        "cgroup.memory.used-share": "no memory limit of a control group",
        "throttle.active": "nothing that tells whether the CPU is being slowed",
    }
    return [*absent, *(f"{key}: {hint}" for key, hint in hints.items() if key not in sample)]


def _print_probe(answer: dict[str, Any]) -> None:
    limits = answer["limits"]
    batteries = ", ".join(answer["batteries"]) or "none"
    print(f"board: {answer['board']}, by {answer['matched_by']}; batteries: {batteries}")
    print(f"limits now: {limits['reason']}\n")
    for name in ("readings", "governing"):
        rows = answer[name]
        columns = list(rows[0]) if rows else []
        table(name, columns, [[row[column] for column in columns] for row in rows])
    for line in answer["not_found"]:
        print(f"not found: {line}")


def _show_all(known: Library, *, as_json: bool) -> int:
    rows = [
        {"name": board.name, "title": board.title, "matches": ", ".join([*board.compatible, *board.machine])}
        for board in known.boards.values()
    ]
    added = [
        {"name": overlay.name, "title": overlay.title, "matches": ", ".join(overlay.readings.values())}
        for overlay in known.overlays.values()
    ]
    print_answer({"boards": rows, "overlays": added}, as_json=as_json)
    return 0


def _facts(board: boards.Board) -> dict[str, Fact]:
    """The figures of a profile by their name, those it has."""
    both = [(board.heat, name) for name in board.heat.__struct_fields__]
    both += [(board.electric, name) for name in board.electric.__struct_fields__]  # type: ignore[misc] # two Structs
    found = ((name, getattr(table_, name)) for table_, name in both)
    return {name: fact for name, fact in found if isinstance(fact, Fact)}
