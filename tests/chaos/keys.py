"""Power cuts in a device's life with its keys: `./dev chaos keys --seed N --runs N`.

Each run is a board with a software TPM, or (every fourth) without, that lives through several power cuts: at a random
operation of its disk, or before or after a random command to its TPM. The disk then forgets what was not fsynced,
whole, in part or torn; the TPM is killed with the computer, and keeps what it had acknowledged. After each cut the
device must start, with everything it was promised and no less protected; and every older image of its disk must
be refused where a TPM remembers. Every run is a seed of its own; a failing one prints the line that repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edged.errors import EdgedError, KeysCorrupt, KeysStale
from edged.keys.config import Mode
from edged.keys.opening import Keyplace
from edged.keys.vault import Vault
from tests.rig.keylife import Fuse, FusedBackends, Life, cut
from tests.rig.keyring import keyplace
from tests.rig.powercut import Fault, Image, Log, live, restart_with_shim
from tests.rig.swtpm import Swtpm

LIVES = 3
ACTS = 8
DISK_OPERATIONS = 130
TPM_COMMANDS = 20
MAKING = 28
"""Operations of the disk until keys are made; about a quarter as many of the TPM."""
OLDER_IMAGES = 2


TALLY: Counter[str] = Counter()
"""What happened in all runs, for the report."""


class Wrong(Exception):
    """A promise that was not kept."""


@dataclass
class Promises:
    """What the device has been told, life after life."""

    identity: str = ""
    kind: str = ""
    revision: int = 0
    trying: int = 0
    epoch: int = 1
    retired: int = 0
    anchor: bytes = bytes(32)
    extending: bytes = b""
    sealed: list[tuple[int, bytes]] = field(default_factory=list)

    def hear(self, notes: Sequence[str]) -> None:
        for line in notes:
            what, _, value = line.partition(" ")
            match what:
                case "identity" | "kind":
                    setattr(self, what, value)
                case "revision" | "trying" | "epoch":
                    setattr(self, what, int(value))
                case "retiring":
                    self.retired = int(value)
                case "extending":
                    self.extending = bytes.fromhex(value)
                case "anchor":
                    self.anchor, self.extending = bytes.fromhex(value), b""
                case "sealed":
                    epoch, _, data = value.partition(" ")
                    self.sealed.append((int(epoch), bytes.fromhex(data)))

    def check(self, vault: Vault) -> None:
        """Raise Wrong for the first one that was broken; take over what turned out to have happened."""
        held = {
            "identity": self.identity in ("", vault.identity.hex()),
            "kind": self.kind in ("", vault.keystore.kind),
            "revision": self.revision <= vault.committed.revision <= max(self.revision, self.trying),
            "counter": vault.counter() == vault.committed.counter,
            "epoch": self.epoch <= vault.epoch <= self.epoch + 1,
            "anchor": vault.anchor() in self._anchors(),
            "config": vault.read("config") == self._config(vault.committed.revision),
            "floor": vault.committed.floor_s >= self.revision,
        }
        if broken := [name for name, right in held.items() if not right]:
            raise Wrong(f"not as promised: {', '.join(broken)}")
        for epoch, data in self.sealed:
            if epoch >= self.retired and vault.open("spool", "a", data) != b"promised":
                raise Wrong("something sealed opened to something else")
        self.revision, self.epoch, self.anchor = vault.committed.revision, vault.epoch, vault.anchor()
        self.extending = b""

    def _anchors(self) -> set[bytes]:
        after = hashlib.sha256(self.anchor + self.extending).digest()
        return {self.anchor, after} if self.extending else {self.anchor}

    def _config(self, revision: int) -> bytes | None:
        return b"config %d" % revision if revision else None


class Board:
    """One board: its disk, its TPM, its dice."""

    def __init__(self, seed: int, folder: Path, tpm: Swtpm | None) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._folder = folder
        self.tpm = tpm
        self.mode: Mode = "off" if tpm is None else self.dice.choice(("required", "preferred"))
        self._made = 0

    def place(self, state: Path) -> Keyplace:
        return keyplace(state, tpm=self.mode, tcti="" if self.tpm is None else self.tpm.tcti)

    def fresh(self, image: Image | None = None) -> Path:
        """A new state directory, blank or with an image on it; its board is always the same one."""
        self._made += 1
        state = self._folder / str(self._made) / "state"
        state.mkdir(parents=True, mode=0o700)
        return state if image is None else image.write(state)

    def life(self, state: Path, promises: Promises) -> Log:
        """One life up to its power cut."""
        place = self.place(state)
        pid = None if self.tpm is None else self.tpm.pid
        faults = []
        making = not promises.identity and self.dice.random() < 0.5
        if self.dice.random() < 0.5:
            faults = [Fault("KILL", "any", self.dice.randint(1, MAKING if making else DISK_OPERATIONS))]
        else:
            uses = self.dice.randint(1, MAKING // 4 if making else TPM_COMMANDS)
            fuse = Fuse(uses, before=self.dice.random() < 0.5, cut=cut(pid))
            place.backends = FusedBackends(place, fuse)  # type: ignore[assignment] # the same, with a fuse in it
        life = Life(place, self.dice.randrange(1 << 32), ACTS, promises.trying, self.mode)
        log = live(state, life, faults)
        TALLY[
            "lived to the end"
            if not log.returncode
            else "cut at the disk"
            if faults
            else "cut at the TPM's line"
        ] += 1
        if log.returncode == 1:
            raise Wrong(f"it failed before the power did: {log.output}")
        return log

    def power_on(self) -> None:
        if self.tpm is not None:
            self.tpm.restart()


def run(seed: int) -> str | None:
    """One run by its seed; what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="keys-") as folder, _tpm(seed) as tpm:
        try:
            lives(Board(seed, Path(folder), tpm))
        except (Wrong, EdgedError) as exc:
            return f"{type(exc).__name__}: {exc}"
    return None


def lives(board: Board) -> None:
    """Live, lose power, forget, start again; raises Wrong, or whatever keeps the device from starting."""
    promises, state = Promises(), board.fresh()
    for _ in range(LIVES):
        log = board.life(state, promises)
        promises.hear(log.notes())
        older = list(_older(log, board.dice))
        image = log.cut(seed=board.dice.randrange(6))
        state = board.fresh(image)
        board.power_on()
        vault = board.place(state).open_or_make()
        promises.check(vault)
        vault.close()
        if board.tpm is not None:
            for past in older:
                refused(board, past, promises)


def refused(board: Board, past: Image, promises: Promises) -> None:
    """An older image must not start; one in which the same commit is in force is not older."""
    state = board.fresh(past)
    try:
        vault = board.place(state).open()
    except (KeysStale, KeysCorrupt) as exc:
        TALLY[f"older images refused: {type(exc).__name__}"] += 1
        return
    try:
        if vault.committed.revision != promises.revision or vault.epoch != promises.epoch:
            raise Wrong(f"an older image of the disk was accepted: revision {vault.committed.revision}")
        TALLY["images that were not older"] += 1
    finally:
        vault.close()


def _older(log: Log, dice: random.Random) -> Iterator[Image]:
    """The disk as it was after some earlier promises, everything on it written."""
    kept = [
        at
        for at in range(1, len(log))
        if len(log.notes(at)) > len(log.notes(at - 1)) and len(log.notes(at)) > 2
    ]
    for at in dice.sample(kept, min(OLDER_IMAGES, len(kept))):
        yield log.cut(at, seed=1)


@contextlib.contextmanager
def _tpm(seed: int) -> Iterator[Swtpm | None]:
    if seed % 4 == 0:
        yield None
        return
    with Swtpm() as tpm:
        yield tpm


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos keys", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args(argv)
    restart_with_shim()
    logging.disable()
    failures = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        if (said := run(seed)) is not None:
            failures += 1
            print(f"seed {seed}: {said}\n  replay: ./dev chaos keys --seed {seed} --runs 1", flush=True)
    for what, times in sorted(TALLY.items()):
        print(f"{what}: {times}")
    print(f"keys: {arguments.runs} runs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
