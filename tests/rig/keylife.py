"""A device's life with its keys, in a process of its own that writes down what it was promised.

Every promise (a call that returned) is a note in the powercut log: after a cut, what was noted must still hold.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.keys import recovering, rotation
from edged.keys.backend import Backend
from edged.keys.config import Mode
from edged.keys.opening import Keyplace
from edged.keys.vault import Vault
from tests.rig.keyring import keyplace
from tests.rig.pki import FleetKey
from tests.rig.powercut import note

WRITES = frozenset({"seal", "make_identity", "set_record", "advance", "extend", "forget", "authorise"})
"""What of a backend changes something, or prepares for it."""

RECOVERY = FleetKey()


class Fuse:
    """Cuts the power at the n-th use of the backend: `before` it is carried out, or right after."""

    def __init__(self, uses: int, *, before: bool, cut: Callable[[], None]) -> None:
        self._left = uses
        self._before = before
        self._cut = cut

    def around(self, call: Callable[..., Any], *args: Any) -> Any:
        self._left -= 1
        if self._left == 0 and self._before:
            self._cut()
        given = call(*args)
        if self._left == 0:
            self._cut()
        return given


class Fused:
    """A backend with a fuse in its line."""

    def __init__(self, backend: Backend, fuse: Fuse) -> None:
        self._backend = backend
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        given = getattr(self._backend, name)
        if name not in WRITES:
            return given
        return lambda *args: self._fuse.around(given, *args)


class FusedBackends:
    """The backends of a place, each with the same fuse."""

    def __init__(self, place: Keyplace, fuse: Fuse) -> None:
        self._backends = place.backends
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        given = getattr(self._backends, name)

        def call(*args: Any) -> Any:
            backend = given(*args)
            return None if backend is None else Fused(backend, self._fuse)

        return call


def cut(tpm: int | None) -> Callable[[], None]:
    """The power goes: of the TPM, and of the computer."""

    def now() -> None:
        if tpm is not None:
            os.kill(tpm, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    return now


class Life:
    """Random acts, each announced before and noted after."""

    def __init__(self, place: Keyplace, seed: int, acts: int, revision: int, mode: Mode) -> None:
        self._place = place
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._acts = acts
        self._revision = revision
        self._mode = mode

    def __call__(self) -> None:
        vault = self._place.open_or_make()
        note(f"identity {vault.identity.hex()}")
        note(f"kind {vault.keystore.kind}")
        for _ in range(self._acts):
            act = self._dice.choice(
                (
                    self._commit,
                    self._commit,
                    self._rotate,
                    self._checkpoint,
                    self._seal,
                    self._drill,
                    self._retire,
                )
            )
            act(vault)
        vault.close()

    def _commit(self, vault: Vault) -> None:
        self._revision += 1
        note(f"trying {self._revision}")
        changes = {
            "config": b"config %d" % self._revision,
            "other": self._dice.randbytes(self._dice.choice((1, 5000))),
        }
        vault.commit(changes, revision=self._revision, floor_s=self._revision)
        note(f"revision {self._revision}")

    def _rotate(self, vault: Vault) -> None:
        note(f"epoch {rotation.rotate(vault)}")

    def _checkpoint(self, vault: Vault) -> None:
        digest = hashlib.sha256(self._dice.randbytes(8)).digest()
        note(f"extending {digest.hex()}")
        note(f"anchor {vault.extend(digest).hex()}")
        vault.sign("audit", digest)

    def _seal(self, vault: Vault) -> None:
        note(f"sealed {vault.epoch} {vault.seal('spool', 'a', b'promised').hex()}")

    def _drill(self, vault: Vault) -> None:
        if vault.keystore.recovery_public is None:
            recovering.entrust(vault, RECOVERY.public)
        recovering.drill(vault, RECOVERY.private, 1)
        note("drilled 1")

    def _retire(self, vault: Vault) -> None:
        note(f"retiring {vault.epoch}")
        rotation.retire(vault, vault.epoch)


def short(state: Path) -> None:
    """Keys are made, something is committed, rotated and retired; without a TPM, so that all of it is on the disk."""
    vault = keyplace(state).open_or_make()
    note("made")
    vault.commit({"config": b"one"}, revision=1)
    note("committed")
    rotation.rotate(vault)
    note("rotated")
    vault.commit({"config": b"two"}, revision=2)
    rotation.retire(vault, vault.epoch)
    note("retired")
    vault.close()


if __name__ == "__main__":
    short(Path(sys.argv[1]))
