"""Seeded changes of audit logs, and power cuts while they are written: `./dev chaos audit`.

A run makes two things of its seed. A log of up to 1,000 records is changed by somebody (bytes flipped; records dropped,
swapped, doubled, rewritten with all hashes after them; the tail cut; an older copy restored and gone on with), and the
verdict must name the record. And a log is written on a recorded disk, with faults in it, which loses its power at many
points and forgets what was not fsynced; every record that was acknowledged must be there, and the log must open,
verify, go on, and stand where the anchor says or one checkpoint behind.

`--every-byte` flips each byte of a log of 1,000 records instead, one at a time.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edged.audit import chain
from edged.audit.chain import MAGIC, Event, State, unsigned
from edged.audit.config import AuditConfig
from edged.audit.store import Store
from edged.audit.verdict import Finding, Kind
from edged.audit.verify import Verifier
from edged.clock import Instant
from edged.errors import StorageError
from tests.rig.audit import forging
from tests.rig.audit.forging import Written, a_log, rewritten, verified
from tests.rig.audit.stored import Board, an_event, numbers, verify
from tests.rig.powercut import Fault, Log, live, note, restart_with_shim

LIE = Event("uid:0", "nothing", "happened")
CUTS = 12
SMALL = AuditConfig(segment_max_bytes=65_536, keep_max_bytes=131_072)
NAME = "0000000000000001.audit"


class Wrong(Exception):
    """What should hold does not."""


# ---- changes


def flip(log: Written, dice: random.Random) -> None:
    """Flip bits of one byte."""
    at = dice.randrange(len(log.frames))
    frame = bytearray(log.frames[at])
    frame[dice.randrange(len(frame))] ^= dice.randrange(1, 256)
    frames = [*log.frames[:at], bytes(frame), *log.frames[at + 1 :]]
    expect(verified(log, frames).findings, Kind.DAMAGED, at + 1, at + 1)


def drop(log: Written, dice: random.Random) -> None:
    """Drop some records in a row, not the last ones."""
    first = dice.randrange(len(log.frames) - 1)
    last = min(len(log.frames) - 2, first + dice.choice((0, 1, 30)))
    frames = log.frames[:first] + log.frames[last + 1 :]
    expect(verified(log, frames).findings, Kind.REMOVED, first + 1, last + 1)


def swap(log: Written, dice: random.Random) -> None:
    """Exchange two records."""
    first, second = sorted(dice.sample(range(len(log.frames)), 2))
    frames = list(log.frames)
    frames[first], frames[second] = frames[second], frames[first]
    findings = verified(log, frames).findings
    expect([f for f in findings if f.first == first + 1], Kind.MOVED, first + 1, first + 1)
    if any(f.kind is Kind.REMOVED for f in findings):
        raise Wrong(f"swapped {first + 1} and {second + 1}, and missed {findings}")


def double(log: Written, dice: random.Random) -> None:
    """Have a record stand twice."""
    at = dice.randrange(len(log.frames))
    put = dice.randrange(at, len(log.frames)) + 1
    frames = [*log.frames[:put], log.frames[at], *log.frames[put:]]
    expect(verified(log, frames).findings, Kind.MOVED, at + 1, at + 1)


def rewrite(log: Written, dice: random.Random) -> None:
    """Write one record anew and make every later hash fit: the next checkpoint tells, after the last nobody can."""
    at = dice.choice([at for at, frame in enumerate(log.frames) if chain.OWN not in frame])
    verdict = verified(log, rewritten(log.frames, at, LIE))
    if log.published and at < log.published[-1].seq:
        expect(verdict.findings, Kind.ALTERED, at + 1, at + 1)
    elif verdict.findings or at + 1 <= verdict.covered:
        raise Wrong(
            f"rewritten {at + 1} after the last checkpoint: covered {verdict.covered}, {verdict.findings}"
        )


def replace(log: Written, dice: random.Random) -> None:
    """Write one record anew, with its own hash alone."""
    at = dice.choice([at for at, frame in enumerate(log.frames[:-1]) if chain.OWN not in frame])
    before = log.frames[at - 1][-chain.HASH_BYTES :]
    frame, _ = chain.link(State(at, before), LIE, Instant(1.0, True, 1.0))
    frames = [*log.frames[:at], frame, *log.frames[at + 1 :]]
    expect(verified(log, frames).findings, Kind.ALTERED, at + 1, at + 1)


def cut(log: Written, dice: random.Random) -> None:
    """Cut the tail: within a record it is named; at its end the published checkpoint and the anchor tell."""
    at = dice.randrange(1, len(log.frames))
    data = b"".join(log.frames[:at])
    torn = dice.randrange(4, len(log.frames[at]))  # its length begins with zeros, like room that is reserved
    expect(verified(log, data + log.frames[at][:torn]).findings, Kind.DAMAGED, at + 1, at + 1)
    if log.published and at < log.published[-1].seq:
        expect(verified(log, data, published=log.published).findings, Kind.CUT, at + 1, None)
        if Kind.REPLAYED not in {f.kind for f in verified(log, data, anchor=log.device.anchor()).findings}:
            raise Wrong(f"cut after {at}, and the anchor did not tell")


def restore(log: Written, dice: random.Random) -> None:
    """Restore an older copy and go on with it: the anchor tells where, forever."""
    if len(log.published) < 2:
        return
    older = dice.randrange(1, log.published[-1].seq)
    again = copy.copy(log)
    again.frames = log.frames[:older]
    again.published = [checkpoint for checkpoint in log.published if checkpoint.seq < older]
    again.state, again.anchor = State(older, again.frames[-1][-chain.HASH_BYTES :]), log.device.anchor()
    again.act(dice.randrange(1, 20))
    again.check()
    findings = verified(again, published=log.published).findings
    if Kind.REPLAYED not in {f.kind for f in findings}:
        raise Wrong(f"gone on after {older} of {len(log.frames)}: {findings}")


CHANGES: Sequence[Callable[[Written, random.Random], None]] = (
    flip,
    drop,
    swap,
    double,
    rewrite,
    replace,
    cut,
    restore,
)


def expect(findings: Sequence[Finding], kind: Kind, first: int, last: int | None) -> None:
    """Raise Wrong unless this is the one finding."""
    named = [(f.kind, f.first, f.last if last is not None else None) for f in findings]
    if named != [(kind, first, last)]:
        raise Wrong(f"expected {kind.value} {first} to {last}, found {[f.message for f in findings]}")


def changed(seed: int) -> None:
    """One log, every kind of change."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    log = a_log(dice.choice((20, 200, 1000)), every=dice.choice((3, 50, 256)))
    if not verified(log, published=log.published, anchor=log.device.anchor()).intact:
        raise Wrong("the log is not intact before anybody changed it")
    for change in CHANGES:
        change(log, dice)


# ---- power cuts


def lived(root: Path, seed: int) -> None:
    """Write a log, saying what is acknowledged and what the anchor is; runs in the recorded process."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    keys, number = forging.Device(), 0
    log = Store(root / "audit", SMALL, Board().clock())
    try:
        log.open()
    except StorageError:  # what failed is one of the faults
        note("unopened")
        return
    for _ in range(dice.randrange(5, 60)):
        group = [
            an_event(number + index, "x" * dice.randrange(200)) for index in range(dice.choice((1, 1, 5, 40)))
        ]
        number += len(group)
        try:
            log.append(group, vital=dice.random() < 0.2)
            note(f"acknowledged {group[0].about['n']} {group[-1].about['n']}")
            if dice.random() < 0.2:
                log.add_checkpoint(keys.sign(log.checkpoint({}).payload()))
                note(f"anchor {keys.extend(log.standing.folded).hex()}")
        except StorageError:
            continue


def cut_powers(seed: int) -> None:
    """One life, the power lost at many points of it."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    faults = []
    if dice.random() < 0.6:
        error = dice.choice(("ENOSPC", "EIO", "HALF"))
        operation = "write" if error == "HALF" else dice.choice(("write", "sync", "name", "any"))
        faults = [Fault(error, operation, dice.randrange(1, 60), dice.choice((1, 1, 4, -1)))]  # type: ignore[arg-type]  # of the literals it takes
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        (root := Path(folder) / "live").mkdir()
        log = live(root, lambda: lived(root, seed), faults)
        for index in range(CUTS):
            at = len(log) if index == 0 else dice.randrange(len(log) + 1)
            look(log, at, 1 if index == 0 else dice.randrange(20), Path(folder) / str(index))
        if log.returncode or ("unopened" in log.notes() and not faults):
            raise Wrong(f"the first life ended with {log.returncode}, {log.notes()[-1:]}")


def look(log: Log, at: int, seed: int, folder: Path) -> None:
    """What the next life finds after a cut, and whether it can go on."""
    root = log.cut(at, seed).write(folder) / "audit"
    acknowledged, anchor = set(), chain.ZERO
    for word, *rest in (said.split() for said in log.notes(at)):
        if word == "anchor":
            anchor = bytes.fromhex(rest[0])
        elif rest:
            acknowledged |= set(range(int(rest[0]), int(rest[1]) + 1))
    again = Store(root, SMALL, Board().clock())
    try:
        again.open()
        standing = again.standing
        again.append([an_event(-1)])
    finally:
        again.close()
    verdict = verify(root, unsigned)
    there = [number for number in numbers(root) if number >= 0]
    pruned = verdict.first > 1
    missing = {number for number in acknowledged - set(there) if not pruned or number > min(there, default=0)}
    if missing:
        raise Wrong(f"cut {at} seed {seed}: acknowledged {sorted(missing)} are lost")
    if there != sorted(set(there)):
        raise Wrong(f"cut {at} seed {seed}: out of order or twice: {there}")
    if not verdict.intact:
        raise Wrong(f"cut {at} seed {seed}: {[finding.message for finding in verdict.findings]}")
    if anchor not in (standing.anchor_after, standing.anchor):
        raise Wrong(f"cut {at} seed {seed}: the anchor is neither where the log leads nor one behind")


def run(seed: int) -> str | None:
    """One run by its seed; what went wrong, or None."""
    try:
        changed(seed)
        cut_powers(seed)
    except Wrong as exc:
        return str(exc)
    except Exception as exc:  # noqa: BLE001 - a crash of what is under test is a finding like any other
        return f"{type(exc).__name__}: {exc}"
    return None


# ---- every byte


def every_byte(records: int = 1000, *, step: int = 1) -> tuple[int, int]:
    """Flip each `step`-th byte of a log, one at a time; how many were flipped, and how many not named exactly.

    The verifier goes on from a copy of itself before the flipped record. After the record that follows it stands
    where it stands without the flip, so that all that comes after is as it was.
    """
    log = a_log(records)
    frames = [*log.frames, b""]
    verifier = Verifier(log.device.opened)
    verifier.take(NAME, MAGIC)
    flipped = wrong = 0
    for index, frame in enumerate(log.frames):
        after = copied(verifier)
        after.take(NAME, MAGIC + frame + frames[index + 1])
        for at in range(flipped * step % len(frame) if step > 1 else 0, len(frame), step):
            changed_frame = frame[:at] + bytes((frame[at] ^ 0xFF,)) + frame[at + 1 :]
            judge = copied(verifier)
            judge.take(NAME, MAGIC + changed_frame + frames[index + 1])
            named = [(f.kind, f.first, f.last) for f in judge.finish().findings]
            same = not frames[index + 1] or judge.finish().last == after.finish().last
            flipped += 1
            wrong += named != [(Kind.DAMAGED, index + 1, index + 1)] or not same
        verifier.take(NAME, MAGIC + frame)
    return flipped, wrong


def copied(verifier: Verifier) -> Verifier:
    """One that goes its own way."""
    made = copy.copy(verifier)
    for name, value in vars(verifier).items():
        if isinstance(value, dict | list | set):
            setattr(made, name, value.copy())
    return made


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos audit", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--every-byte", action="store_true", help="flip each byte of 1,000 records")
    arguments = parser.parse_args(argv)
    if arguments.every_byte:
        begun = time.monotonic()
        flipped, wrong = every_byte()
        print(f"{flipped} bytes flipped in {time.monotonic() - begun:.0f} s")
        print(f"audit: {flipped} runs, {wrong} failures")
        return 1 if wrong else 0
    restart_with_shim()
    failures = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        if (said := run(seed)) is not None:
            failures += 1
            print(f"seed {seed}: {said}\n  replay: ./dev chaos audit --seed {seed} --runs 1")
    print(f"audit: {arguments.runs} runs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
