"""The models that serve now: keeps what the catalog offers in step with what the library holds.

Every change goes library first (on disk, fsynced), then catalog, then scheduler, so that a power cut between two of
them is healed by the next start. What runs models (numpy, TFLite, kernels) is imported when the first one serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from edged.errors import BadManifest, EdgedError, NotFound, StorageError
from edged.inference.manifest import Manifest
from edged.inference.models.library import Library, Slot
from edged.mcp.catalog import Catalog, Peer
from edged.tasks import OneThread
from edged.tools.arguments import Sources
from edged.tools.device import Engine, ModelStatus
from edged.tools.models import Entry, Progress

if TYPE_CHECKING:
    from edged.inference.request import Request
    from edged.inference.scheduler import Scheduler
    from edged.inference.trial.report import Report
    from edged.inference.values import Answer
    from edged.inference.worker import Reply
    from edged.tools.infer import Endpoint

LOG = logging.getLogger(__name__)

StartEngine = Callable[[Library], Awaitable[tuple["Scheduler", Engine]]]


class Serving:
    """Implements what the model tools ask; one change at a time."""

    def __init__(
        self,
        open_library: Callable[[], Library],
        disk: OneThread,
        catalog: Catalog,
        sources: Sources,
        start_engine: StartEngine,
    ) -> None:
        self._open_library = open_library
        self._disk = disk
        self._catalog = catalog
        self._sources = sources
        self._start_engine = start_engine
        self._changing = asyncio.Lock()
        self._scheduler: Scheduler | None = None
        self._active: dict[str, Manifest] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._peers: set[Peer] = set()
        self.engine: Engine | None = None

    async def open(self) -> None:
        """Serve what was active when the daemon last ended."""
        self._library = await self._disk.run(self._open_library)
        for suspect in self._library.suspects:
            LOG.warning("load killed the last process entry=%s guilty=%s", suspect.entry, suspect.guilty)
        await self._follow()

    async def close(self) -> None:
        """Let what runs finish, and free every model."""
        if self._scheduler is not None:
            await self._scheduler.close()

    # what tools ask

    async def entries(self) -> list[Entry]:
        """Every installed version."""
        return await self._disk.run(lambda: [self._entry(slot) for slot in self._library.entries()])

    async def add(self, manifest: str, files: dict[str, bytes], progress: Progress) -> Entry:
        """Install a version; it does not serve yet."""
        loop = asyncio.get_running_loop()

        def report(what: str, done: int) -> None:
            loop.call_soon_threadsafe(progress, what, done)

        slot = await self._disk.run(lambda: self._library.add(manifest, files, progress=report))
        return await self._disk.run(lambda: self._entry(slot))

    async def activate(self, name: str, version: str) -> Entry:
        """Serve an installed version."""
        return await self._changed(lambda: self._library.activate(name, version))

    async def rollback(self, name: str) -> Entry:
        """Serve the previous version again."""
        return await self._changed(lambda: self._library.rollback(name))

    async def remove(self, name: str, version: str | None) -> None:
        """Delete a version, or the whole model."""
        await self._disk.run(lambda: self._library.remove(name, version))
        await self._follow()

    async def examine(self, name: str, progress: Progress) -> dict[str, Report]:
        """Try the active version of a model again, every variant; raises what makes it unfit."""
        manifest = self._active.get(name)
        if manifest is None:
            raise NotFound(f"no model {name} serves here; those that do: {', '.join(sorted(self._active))}")
        loop = asyncio.get_running_loop()

        def report(what: str, done: int) -> None:
            loop.call_soon_threadsafe(progress, what, done)

        return await self._disk.run(
            lambda: self._library.examine(manifest.name, manifest.version, progress=report)
        )

    def active(self) -> list[str]:
        """The names of the models that serve."""
        return sorted(self._active)

    async def kernels_error(self) -> float | None:
        """How far the kernels in use are from numpy's; None before the first model is served."""
        if self._scheduler is None:
            return None
        return await self._disk.run(self._scheduler.kernels_error)

    def status(self) -> list[ModelStatus]:
        """Every active model and what it has done."""
        done = self._scheduler.status() if self._scheduler else None
        return [
            ModelStatus.of(manifest.name, manifest.version, done)
            for _, manifest in sorted(self._active.items())
        ]

    # inside

    def _submit(self, request: Request, reply: Reply | None) -> asyncio.Future[Answer]:
        assert self._scheduler is not None  # noqa: S101 - a model is active, so `_follow` has started it
        if request.stream is not None:
            self._close_streams_with(request.peer)
        return self._scheduler.submit(request, reply)

    async def _changed(self, change: Callable[[], Slot]) -> Entry:
        slot = await self._disk.run(change)
        await self._follow()
        return await self._disk.run(lambda: self._entry(slot))

    async def _follow(self) -> None:
        """Serve exactly what the library says is active."""
        async with self._changing:
            await self._follow_alone()

    async def _follow_alone(self) -> None:
        wanted = {manifest.name: manifest for manifest in await self._disk.run(self._readable)}
        if wanted and self._scheduler is None:
            self._scheduler, self.engine = await self._start_engine(self._library)
        before, self._active = self._active, wanted
        for name in before.keys() - wanted.keys():
            self._withdraw(name)
        for name, manifest in wanted.items():
            if before.get(name) != manifest:
                self._offer(manifest)

    def _offer(self, manifest: Manifest) -> None:
        from edged.tools import batch, infer  # noqa: PLC0415 - numpy comes with the first model

        assert self._scheduler is not None  # noqa: S101 - `_follow` has started it
        self._scheduler.serve(manifest)
        self._endpoints[manifest.name] = endpoint = infer.Endpoint(manifest, self._sources)
        self._catalog.put(infer.tool(endpoint, self._submit))
        if self._catalog.tools.get(batch.NAME) is None:
            self._catalog.put(batch.tool(self._endpoints, self._submit))

    def _withdraw(self, name: str) -> None:
        assert self._scheduler is not None  # noqa: S101 - the model was served
        del self._endpoints[name]
        self._catalog.tools.remove(f"infer_{name}")
        self._scheduler.withdraw(name)

    def _readable(self) -> list[Manifest]:
        """The manifests of the active versions; a damaged one is put aside, and the version before it serves."""
        found = []
        for slot in self._library.active():
            chosen: Slot | None = slot
            while chosen is not None:
                try:
                    found.append(self._library.manifest(chosen.name, chosen.version))
                    break
                except (BadManifest, StorageError) as exc:
                    LOG.warning("damaged model=%s version=%s: %s", chosen.name, chosen.version, exc.message)
                    chosen = self._library.quarantine(chosen.name, chosen.version, exc.message)
        return found

    def _entry(self, slot: Slot) -> Entry:
        try:
            manifest: Manifest | None = self._library.manifest(slot.name, slot.version)
        except EdgedError:
            manifest = None
        return Entry.of(slot, manifest)

    def _close_streams_with(self, peer: Any) -> None:
        """Have a peer's streams closed when its connection is gone."""
        if peer in self._peers:
            return
        self._peers.add(peer)

        def forget() -> None:
            self._peers.discard(peer)
            if self._scheduler is not None:
                self._scheduler.forget(peer)

        peer.on_close(forget)
