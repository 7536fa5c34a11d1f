"""The installed models, kept in memory as the library last had them: a reader never waits for the disk."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from edged.errors import EdgedError
from edged.inference.manifest import Manifest
from edged.inference.models.library import Library, Slot, State
from edged.tasks import OneThread
from edged.tools.models import Entry, Models, Progress

LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Version(NamedTuple):
    """One installed version; no manifest where that is damaged."""

    slot: Slot
    manifest: Manifest | None


class Installed(NamedTuple):
    """One model with its versions, and the labels of the one that `described` gives."""

    name: str
    versions: tuple[Version, ...]
    labels: tuple[str, ...]

    @property
    def active(self) -> Version | None:
        """The version that serves."""
        return next((v for v in self.versions if v.slot.state is State.ACTIVE), None)

    @property
    def described(self) -> Version | None:
        """The version to speak of: the active one, else the last that can be read."""
        return _described(self.versions)


class Inventory:
    """For the event loop's thread; `refresh` after each change of the library."""

    def __init__(self, library: Callable[[], Library], disk: OneThread) -> None:
        self._library = library
        self._disk = disk
        self.models: dict[str, Installed] = {}

    async def refresh(self) -> set[str]:
        """Read the library again; gives the names of the models that are new, changed or gone."""
        before, self.models = self.models, await self._disk.run(_read, self._library())
        return {
            name for name in before.keys() | self.models.keys() if before.get(name) != self.models.get(name)
        }


class Followed:
    """A `Models` after each of whose changes, made or failed, `follow` runs."""

    def __init__(self, models: Models, follow: Callable[[], Awaitable[None]]) -> None:
        self._models = models
        self._follow = follow

    def entries(self) -> Awaitable[list[Entry]]:
        """See `Models`."""
        return self._models.entries()

    async def add(self, manifest: str, files: dict[str, bytes], progress: Progress) -> Entry:
        """See `Models`."""
        return await self._followed(self._models.add(manifest, files, progress))

    async def activate(self, name: str, version: str) -> Entry:
        """See `Models`."""
        return await self._followed(self._models.activate(name, version))

    async def rollback(self, name: str) -> Entry:
        """See `Models`."""
        return await self._followed(self._models.rollback(name))

    async def remove(self, name: str, version: str | None) -> None:
        """See `Models`."""
        await self._followed(self._models.remove(name, version))

    async def _followed(self, change: Awaitable[T]) -> T:
        try:
            return await change
        finally:  # cancelled or failed, it may have changed the disk; jobs of one thread keep their order
            await self._follow()


def _read(library: Library) -> dict[str, Installed]:
    found: dict[str, list[Version]] = {}
    for slot in library.entries():
        found.setdefault(slot.name, []).append(Version(slot, _manifest(library, slot)))
    return {name: _installed(library, name, tuple(versions)) for name, versions in found.items()}


def _installed(library: Library, name: str, versions: tuple[Version, ...]) -> Installed:
    described = _described(versions)
    labels = _labels(library, described.slot) if described else ()
    return Installed(name, versions, labels)


def _described(versions: tuple[Version, ...]) -> Version | None:
    readable = [version for version in versions if version.manifest]
    active = [version for version in readable if version.slot.state is State.ACTIVE]
    return next(iter(active or reversed(readable)), None)


def _manifest(library: Library, slot: Slot) -> Manifest | None:
    try:
        return library.manifest(slot.name, slot.version)
    except EdgedError as exc:
        LOG.debug("unreadable manifest model=%s version=%s: %s", slot.name, slot.version, exc.message)
        return None


def _labels(library: Library, slot: Slot) -> tuple[str, ...]:
    try:
        return tuple(library.labels(slot.name, slot.version))
    except EdgedError as exc:
        LOG.warning("unreadable labels model=%s version=%s: %s", slot.name, slot.version, exc.message)
        return ()
