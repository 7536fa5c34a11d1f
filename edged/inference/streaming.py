"""Which worker keeps which audio stream, and the closing of those that nobody feeds. All of it is the event loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic

from edged.errors import EdgedError
from edged.inference.config import InferenceConfig
from edged.inference.streams import Key, StreamLedger
from edged.inference.worker import Worker


class Streams:
    """A stream stays with the worker that heard its first piece. `changed` is called when one is gone."""

    def __init__(self, config: InferenceConfig, changed: Callable[[], None]) -> None:
        self._ledger = StreamLedger(config)
        self._homes: dict[Key, Worker] = {}
        self._changed = changed
        self._reaper: asyncio.TimerHandle | None = None

    def home(self, key: Key | None) -> Worker | None:
        """Who keeps it; None where nobody does, and for no stream."""
        return None if key is None else self._homes.get(key)

    def of(self, worker: Worker) -> list[Key]:
        """Every stream that a worker keeps."""
        return [key for key, home in self._homes.items() if home is worker]

    def open(self, key: Key, worker: Worker, now: float, room: Callable[[], None]) -> bool:
        """Note a piece of a stream; give whether it is the first. Raises Overloaded, and what `room` raises."""
        new = self._ledger.touch(key, now)
        try:
            if new:
                room()
        except EdgedError:
            self._ledger.drop(key)
            raise
        self._homes[key] = worker
        if self._reaper is None:
            self._reap_later(now)
        return new

    def close(self, key: Key) -> None:
        """End a stream, on its worker's thread too."""
        worker = self._homes.get(key)
        self.drop(key)
        if worker is not None:
            worker.close_stream(key)

    def drop(self, key: Key) -> None:
        """Forget a stream whose worker goes."""
        self._ledger.drop(key)
        self._homes.pop(key, None)
        self._changed()

    def forget(self, peer: Hashable) -> None:
        """End every stream of a peer."""
        for key in self._ledger.of_peer(peer):
            self.close(key)

    def stop(self) -> None:
        """Reap no more."""
        if self._reaper is not None:
            self._reaper.cancel()

    def _reap(self) -> None:
        now = monotonic()
        for key in self._ledger.idle(now):
            self.close(key)
        self._reap_later(now)

    def _reap_later(self, now: float) -> None:
        wait_s = self._ledger.next_check_s(now)
        self._reaper = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._reap)
