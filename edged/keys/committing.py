"""Commits on the disk and in the backend: `edged.keys.commits`, carried out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from edged.errors import KeysCorrupt
from edged.keys import commits
from edged.keys.backend import Backend
from edged.keys.commits import Commit
from edged.keys.objects import Objects
from edged.keys.secret import Secret

NAME: Final = "commit"


class Commits:
    """The one commit in force, and the next one. For the keys' thread; every method may raise what a backend raises."""

    def __init__(self, objects: Objects, backend: Backend) -> None:
        self._objects = objects
        self._backend = backend
        self._identity = b""
        self._commit = Commit(counter=0)
        self._settled = False

    @classmethod
    def after(cls, commit: Commit, objects: Objects, backend: Backend) -> Commits:
        """To go on from `commit` in a backend that did not make it, whatever that remembers: for a recovery."""
        made = cls(objects, backend)
        made._commit, made._settled = commit, True
        return made

    def look(self) -> Commit | None:
        """What is in force; None before the first commit. Nothing is changed, and nothing believed (`authenticate`)."""
        raw = self._objects.whole(NAME)
        verdict = commits.decide(self._backend.counter(), self._backend.record(), dict(_readable(raw)))
        if verdict is None:
            return None
        self._identity, self._commit = verdict.id, verdict.commit
        self._settled = not verdict.advance
        return verdict.commit

    def settle(self) -> Commit | None:
        """Likewise, after finishing what a power cut or an error interrupted."""
        while (commit := self.look()) is not None and not self._settled:
            self._backend.advance()
        return commit

    def authenticate(self, key: Secret) -> None:
        """Raise KeysCorrupt unless the commit in force was made under this root."""
        if not commits.authentic(self._objects.get(NAME, self._identity), key):
            raise KeysCorrupt("the commit record was not made by this device's keys")

    @property
    def current(self) -> Commit:
        """What is in force, as far as this process has heard."""
        return self._commit

    def read(self, name: str) -> bytes | None:
        """An object in force; None where nothing of that name is."""
        pin = self._commit.pins.get(name)
        return None if pin is None else self._objects.get(name, pin)

    def commit(
        self,
        changes: Mapping[str, bytes | None],
        key: Secret,
        *,
        revision: int | None = None,
        floor_s: int | None = None,
    ) -> Commit:
        """Put all of `changes` in force, or none of it; None takes an object out.

        On an error it is unknown whether it happened until the next `settle` or `commit` has heard of the backend.
        """
        if not self._settled:
            self.settle()
        pins = {
            name: None if data is None else self._objects.put(name, data) for name, data in changes.items()
        }
        base = msgspec.structs.replace(self._commit, floor_s=max(self._commit.floor_s, floor_s or 0))
        counter = self._backend.counter()
        while True:  # once, unless the counter jumps
            commit = commits.successor(base, counter, pins, revision)
            with self._unsettled():
                self._put(commit, key)
                counter = self._backend.advance()
            if counter == commit.counter:
                break
        self.tidy()
        return commit

    def tidy(self) -> None:
        """Remove what is not in force."""
        self._objects.keep([(NAME, self._identity), *self._commit.pins.items()])

    def _put(self, commit: Commit, key: Secret) -> None:
        self._identity = self._objects.put(NAME, commits.encode(commit, key))
        self._backend.set_record(commits.record(commit, self._identity))
        self._commit = commit

    @contextlib.contextmanager
    def _unsettled(self) -> Iterator[None]:
        self._settled = False
        yield
        self._settled = True


def _readable(raw: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, Commit]]:
    for identity, data in raw.items():
        with contextlib.suppress(KeysCorrupt):
            yield identity, commits.decode(data)
