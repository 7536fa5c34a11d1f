"""What the rest of edged may ask of the keys: seal, open, sign, commit.

Sealing and opening are software and may be done on any thread. Everything that asks the backend (sign, commit, the
anchor) blocks, and belongs on the keys' thread.
"""

from __future__ import annotations

import enum
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from edged.errors import KeysCorrupt, KeysUnavailable
from edged.keys import cose, keystore, sealed
from edged.keys.backend import Backend, Protection
from edged.keys.commits import Commit, identify
from edged.keys.committing import Commits
from edged.keys.keystore import Keystore
from edged.keys.note import Note
from edged.keys.sealed import Algorithm
from edged.keys.secret import Secret

KEYSTORE: Final = "keystore"
"""The object that every commit pins."""

COMMIT: Final = "commit"
"""The purpose of the key that authenticates commits."""

_RECORD_CHUNK_LOG2: Final = 24
_SILENT: Final = frozenset({"audit"})
"""Signatures that are not noted: an audit checkpoint is its own note."""


class Purpose(enum.StrEnum):
    """What is sealed; each has a key of its own, and opens with no other."""

    CONFIG = "config"
    MODELS = "models"
    SPOOL = "spool"
    SECRETS = "secrets"
    TLS = "tls"


class Vault:
    """The keys of this device, opened."""

    def __init__(
        self,
        backend: Backend,
        commits: Commits,
        keys: Keystore,
        roots: Mapping[int, Secret],
        algorithm: Algorithm,
        note: Note,
    ) -> None:
        self._backend = backend
        self._commits = commits
        self._keystore = keys
        self._roots = dict(roots)
        self._derived: dict[tuple[str, int], Secret] = {}
        self._deriving = threading.Lock()
        self._pending: tuple[Keystore, dict[int, Secret]] | None = None
        self._algorithm = algorithm
        self.note = note
        """Where uses of the keys are written down."""

    # ---- what it is

    @property
    def protection(self) -> Protection:
        """What protects the keys, found out at the start."""
        return self._backend.protection

    @property
    def keystore(self) -> Keystore:
        """What is known of the keys; nothing in it is secret."""
        return self._keystore

    @property
    def epoch(self) -> int:
        """Of what is sealed from now on."""
        return self._keystore.epoch

    @property
    def identity(self) -> bytes:
        """The device's public key: DER SubjectPublicKeyInfo."""
        return self._keystore.identity_public

    @property
    def algorithm(self) -> Algorithm:
        """What is sealed with on this CPU."""
        return self._algorithm

    # ---- sealing: any thread

    def seal(self, purpose: str, place: str, plain: bytes) -> bytes:
        """Encrypt and authenticate something small; it opens for the same purpose and place alone."""
        return b"".join(self.seal_stream(purpose, place, [plain], _RECORD_CHUNK_LOG2))

    def open(self, purpose: str, place: str, data: bytes) -> bytes:
        """The content again; KeysCorrupt where anything differs."""
        return b"".join(self.open_stream(purpose, place, [data]))

    def seal_stream(
        self, purpose: str, place: str, content: Iterable[bytes], chunk_log2: int = sealed.FILE_CHUNK_LOG2
    ) -> Iterator[bytes]:
        """Likewise something large, in pieces of any size, in constant memory."""
        head = sealed.new_header(self._algorithm, self.epoch, os.urandom(sealed.SALT_BYTES), chunk_log2)
        return sealed.seal_chunks(head, self._key(purpose, head.epoch), _where(purpose, place), content)

    def open_stream(self, purpose: str, place: str, data: Iterable[bytes]) -> Iterator[bytes]:
        """The content again; the first piece of `data` holds the whole header (26 bytes)."""
        pieces = iter(data)
        first = next(pieces, b"")
        head = sealed.header(first)
        return sealed.open_chunks(
            head,
            self._key(purpose, head.epoch),
            _where(purpose, place),
            _chain(first[sealed.HEADER.size :], pieces),
        )

    def stale(self, data: bytes) -> bool:
        """Whether something sealed is of an older epoch, and should be sealed again when it is next written."""
        return sealed.header(data).epoch != self.epoch

    def sealer(self, purpose: Purpose) -> Sealer:
        """The sealing of one purpose, for the room that needs it and nothing else."""
        return Sealer(self, purpose)

    # ---- the backend: the keys' thread

    def sign(self, purpose: str, payload: bytes, content_type: str | None = None) -> bytes:
        """A COSE_Sign1 message by the device's identity, good for this purpose alone."""
        if purpose not in _SILENT:
            self.note.note("keys.sign", {"purpose": purpose, "sha256": hashlib.sha256(payload).hexdigest()})
        kid = cose.key_id(self.identity)
        return cose.sign1(self._sign, payload, kid=kid, purpose=purpose, content_type=content_type)

    @property
    def committed(self) -> Commit:
        """What is in force."""
        return self._commits.current

    def read(self, name: str) -> bytes | None:
        """An object in force, as it was committed; None where there is none of that name."""
        return self._commits.read(name)

    def commit(
        self, changes: Mapping[str, bytes | None], *, revision: int | None = None, floor_s: int | None = None
    ) -> Commit:
        """Put objects in force, all or none, so that no older ones ever are again; None takes one out.

        One write and one count in the backend's non-volatile memory. After an error ask `settle` what is in force.
        """
        self._resolve()
        return self._commits.commit(
            changes, self._key(COMMIT, self.epoch), revision=revision, floor_s=floor_s
        )

    def settle(self) -> Commit:
        """What is in force, asked of the backend again."""
        if (commit := self._commits.settle()) is None:
            raise KeysCorrupt("what holds the keys has forgotten its record")
        self._resolve()
        return commit

    def counter(self) -> int:
        """How many commits there were, by the backend."""
        return self._backend.counter()

    def extend(self, digest: bytes) -> bytes:
        """Fold a digest into the audit anchor; its new value."""
        return self._backend.extend(digest)

    def anchor(self) -> bytes:
        """The audit anchor."""
        return self._backend.anchor()

    @property
    def backend(self) -> Backend:
        """For attestation and TLS, which need more of it than the rest."""
        return self._backend

    def adopt(self, changed: Keystore, roots: Mapping[int, Secret]) -> None:
        """Put another keystore in force, and its roots into use; those left out are wiped.

        After an error either the old or the new one is in force, and the next use of the backend finds out which.
        """
        self._resolve()
        self._pending = changed, dict(roots)
        key = roots[changed.epoch].derive(COMMIT, changed.epoch)
        self._commits.commit({KEYSTORE: keystore.encode(changed)}, key)
        self._take_over(changed, roots)

    def roots(self) -> dict[int, Secret]:
        """The root secrets by epoch, for rotation."""
        return dict(self._roots)

    def close(self) -> None:
        """Overwrite the secrets and let go of the backend."""
        with self._deriving:
            for secret in (*self._roots.values(), *self._derived.values()):
                secret.wipe()
            self._roots.clear()
            self._derived.clear()
        self._backend.close()

    def _resolve(self) -> None:
        """Where it is unknown whether another keystore came into force, find out."""
        if self._pending is None:
            return
        changed, roots = self._pending
        commit = self._commits.settle()
        if commit is not None and commit.pins.get(KEYSTORE) == identify(keystore.encode(changed)):
            self._take_over(changed, roots)
        self._pending = None

    def _take_over(self, changed: Keystore, roots: Mapping[int, Secret]) -> None:
        gone = [root for epoch, root in self._roots.items() if epoch not in roots]
        with self._deriving:
            self._keystore, self._roots, self._pending = changed, dict(roots), None
            for purpose, epoch in [key for key in self._derived if key[1] not in roots]:
                self._derived.pop((purpose, epoch)).wipe()
        for root in gone:
            root.wipe()

    def _sign(self, digest: bytes) -> bytes:
        return self._backend.sign(self._keystore.identity, digest)

    def _key(self, purpose: str, epoch: int) -> Secret:
        with self._deriving:
            if (found := self._derived.get((purpose, epoch))) is None:
                if not self._roots:
                    raise KeysUnavailable("the keys are closed")
                if (root := self._roots.get(epoch)) is None:
                    raise KeysCorrupt(f"sealed in epoch {epoch}, whose key is retired or not of this device")
                found = self._derived[purpose, epoch] = root.derive(purpose, epoch)
            return found


class Sealer:
    """Seals and opens for one purpose; on any thread."""

    def __init__(self, vault: Vault, purpose: Purpose) -> None:
        self._vault = vault
        self._purpose = purpose

    def seal(self, place: str, plain: bytes) -> bytes:
        """Encrypt; it opens for the same place alone (a path, a record's id)."""
        return self._vault.seal(self._purpose, place, plain)

    def open(self, place: str, data: bytes) -> bytes:
        """The content again; KeysCorrupt where anything differs."""
        return self._vault.open(self._purpose, place, data)

    def stale(self, data: bytes) -> bool:
        """Whether it should be sealed again when it is next written."""
        return self._vault.stale(data)


def _where(purpose: str, place: str) -> bytes:
    return f"{purpose}\0{place}".encode()


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
