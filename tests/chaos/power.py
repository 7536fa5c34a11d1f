"""Random days of random boards with broken sensors: `./dev chaos power --seed N --runs N`.

Each run writes one board's sysfs files along a random trace, breaks them (vanish, freeze, lie, spike), lets the real
sources, ledger and governor read them in simulated time, and holds what they decide against an oracle that works from
the whole history. Every run is a seed of its own; a failing one prints the line that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from edged.limits import Limits
from edged.power import boards, hardware
from edged.power.bands import Rule
from edged.power.ledger import Ledger
from edged.power.policy import Policy
from edged.power.readings import Raw, Sample, value
from edged.power.shaping import LEAST
from edged.power.sources.hwmon import Hwmon
from edged.power.sources.pressure import Pressure
from edged.power.sources.source import Source
from edged.power.sources.supply import Supply
from edged.power.sources.thermal import Thermal
from tests.rig import board_oracle
from tests.rig.board import Board
from tests.rig.board_trees import MAX17040, PSI, TREES, hwmon, pressure, supply

LOOKS = 180
DWELL_S = 60.0
LIES = ("", "nonsense\n", "-274000\n", "999999\n", "0\n", "nan\n", "85000\n", "\x00\xff\n")
WORDS = {"reason", "band", "cause"}
EVENTS = ("vanish", "freeze", "lie", "spike", "none")
BATTERIES = {
    "none": {},
    "max17040": MAX17040,
    "laptop": supply("AC", type="Mains", online="1")
    | supply("BAT0", type="Battery", capacity="60", status="Charging"),
}


class Wrong(Exception):
    """An invariant that did not hold."""


class Look(NamedTuple):
    """What one look saw and decided."""

    now: float
    sample: Sample
    limits: Limits


class Attribute:
    """One file that follows a random walk until something happens to it."""

    def __init__(
        self, dice: random.Random, path: str, low: float, high: float, pace: float, text: str
    ) -> None:
        self.dice, self.path, self.low, self.high, self.pace, self.text = dice, path, low, high, pace, text
        self.at = dice.uniform(low, high)
        self.slope = 0.0
        self.event = "none"

    def move(self, board: Board) -> None:
        """One step in time; writes what the file says then."""
        dice = self.dice
        if dice.random() < 0.05:
            self.slope = dice.uniform(-self.pace, self.pace)
        self.at = min(self.high, max(self.low, self.at + self.slope + dice.gauss(0, self.pace / 8)))
        if dice.random() < 0.04:
            self.event = dice.choice(EVENTS)
        says = self.text.format(self.at)
        match self.event:
            case "vanish":
                board.vanish(self.path)
            case "lie":
                board.write(self.path, dice.choice(LIES))
            case "spike":
                board.write(self.path, self.text.format(self.high))
                self.event = "none"
            case "none":
                board.write(self.path, says)


def day(seed: int, folder: Path) -> tuple[list[Look], Sequence[Rule]]:
    """One run: a board, a trace, its faults, and everything that was decided."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    name = dice.choice(sorted(name for name in TREES if "+" not in name and name != "x86-laptop"))
    battery = dice.choice(sorted(BATTERIES))
    supplied = BATTERIES[battery] | hwmon(9, "rpi_volt", in0_lcrit_alarm="0")
    board = Board(folder, {**TREES[name], **pressure(), **supplied})
    known = hardware.profiles()
    match = boards.identify(known, hardware.compatible(folder), "aarch64")
    sources = [Thermal(folder), Supply(folder), Hwmon(folder), Pressure(folder)]
    try:
        return _decide(dice, board, match.board, sources, _attributes(dice, board, battery))
    finally:
        for source in sources:
            source.close()


def _attributes(dice: random.Random, board: Board, battery: str) -> list[Attribute]:
    zones = sorted(board.root.glob("sys/class/thermal/thermal_zone*/temp"))
    found = [
        Attribute(dice, str(z.relative_to(board.root)), 30_000, 106_000, 2_500, "{:.0f}\n")
        for z in zones[: dice.randint(1, 3)]
    ]
    found.append(Attribute(dice, "proc/pressure/memory", 0, 60, 4, PSI))
    volt = "sys/class/hwmon/hwmon9/in0_lcrit_alarm"
    found.append(Attribute(dice, volt, 0, 1.2, 0.3, "{:.0f}\n"))
    if battery != "none":
        folder = "sys/class/power_supply/" + {"max17040": "battery", "laptop": "BAT0"}[battery]
        found.append(Attribute(dice, f"{folder}/capacity", 0, 104, 2, "{:.0f}\n"))
    if battery == "laptop":
        found.append(Attribute(dice, "sys/class/power_supply/AC/online", 0, 1, 0.2, "{:.0f}\n"))
    return found


def _decide(
    dice: random.Random,
    board: Board,
    profile: boards.Board,
    sources: Sequence[Source],
    attributes: Sequence[Attribute],
) -> tuple[list[Look], Sequence[Rule]]:
    ledger, policy, now = Ledger(), Policy(DWELL_S), dice.uniform(0, 1e6)
    rules: Sequence[Rule] = ()
    looks = []
    busy = 5.0
    for _ in range(LOOKS):
        busy = dice.choice((busy, busy, busy, dice.uniform(0, 100)))
        reads = [raw for source in sources for raw in source.read(now)]
        sample = ledger.update([*reads, Raw("cpu.busy", busy, "%", "campaign")], now)
        rules = rules or boards.rules(profile, sample)
        limits = policy.decide(rules, sample, now)
        looks.append(Look(now, sample, limits))
        now += dice.choice((2.0, 2.0, 2.0, 5.0))
        for attribute in attributes:
            attribute.move(board)
    return looks, rules


def check(looks: Sequence[Look], rules: Sequence[Rule]) -> None:
    """Raise Wrong for the first invariant that does not hold."""
    histories: dict[str, list[board_oracle.Moment]] = {rule.reading: [] for rule in rules}
    for look in looks:
        for rule in rules:
            histories[rule.reading].append((look.now, value(look.sample, rule.reading)))
        levels = [board_oracle.level(rule, histories[rule.reading], DWELL_S) for rule in rules]
        blind = any(
            rule.required and board_oracle.is_blind(histories[rule.reading], DWELL_S) for rule in rules
        )
        due = board_oracle.limits(rules, levels, blind=blind)
        for problem in _differences(look, due, rules, levels):
            raise Wrong(f"at {look.now:.1f}: {problem}")
    for problem in _of_the_whole(looks, rules):
        raise Wrong(problem)


def _differences(look: Look, due: Limits, rules: Sequence[Rule], levels: Sequence[int]) -> Iterator[str]:
    for name in set(Limits.__struct_fields__) - WORDS - {"duty"}:
        if getattr(look.limits, name) != getattr(due, name):
            active = [(rule.reading, at) for rule, at in zip(rules, levels, strict=True) if at]
            yield f"{name} is {getattr(look.limits, name)}, due {getattr(due, name)} by {active}"
    yield from _of_the_share(look.limits.duty, due.duty)
    named = [rule for rule in rules if rule.reading in look.limits.reason]
    if any(levels):
        if not any(rule.cause == look.limits.cause for rule in named):
            yield f"the reason names no reading of its cause: {look.limits}"
    elif look.limits.duty is None and look.limits != due:
        yield f"limited by nothing: {look.limits}"
    for key, reading in look.sample.items():
        if reading.value is None and not reading.source:
            yield f"{key} is unknown from nowhere"
        if key.startswith("heat.") and reading.value is not None and not -40 <= reading.value <= 125:
            yield f"{key} believed {reading.value}"


def _of_the_share(duty: float | None, due: float | None) -> Iterator[str]:
    """The forecasts may ask for less than the bands, never for more."""
    if due is not None and (duty is None or duty > due):
        yield f"duty is {duty}, due {due} at most"
    if duty is not None and not LEAST <= duty <= 1.0:
        yield f"duty is {duty}"


def _of_the_whole(looks: Sequence[Look], rules: Sequence[Rule]) -> Iterator[str]:
    """Replay gives the same, and the limits do not flap: eased no more than once a dwell and rule."""
    policy = Policy(DWELL_S)
    for look in looks:
        again = policy.decide(rules, look.sample, look.now)
        if again != look.limits:
            yield f"replay differs at {look.now:.1f}: {again} and {look.limits}"
    dwells = (looks[-1].now - looks[0].now) / DWELL_S + 1
    eased = sum(after.limits.concurrency > before.limits.concurrency for before, after in pairwise(looks))
    if eased > len(rules) * dwells:
        yield f"eased {eased} times, {len(rules) * dwells:.0f} possible with the dwell"
    freed = sum(a.limits.duty is not None and b.limits.duty is None for a, b in pairwise(looks))
    if freed > (len(rules) + 1) * dwells:
        yield f"the share was lifted {freed} times"


def run(seed: int) -> str | None:
    """One run by its seed; what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        try:
            check(*day(seed, Path(folder)))
        except Wrong as exc:
            return str(exc)
        except Exception as exc:  # noqa: BLE001 - a crash of what is under test is a finding like any other
            return f"{type(exc).__name__}: {exc}"
    return None


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos power", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args(argv)
    failures = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        if (said := run(seed)) is not None:
            failures += 1
            print(f"seed {seed}: {said}\n  replay: ./dev chaos power --seed {seed} --runs 1")
    print(f"power: {arguments.runs} runs, {failures} failures")
    return 1 if failures else 0


def encoded(looks: Sequence[Look]) -> bytes:
    """A run as bytes, to compare two of them."""
    return msgspec.json.encode([(look.now, look.limits) for look in looks])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
