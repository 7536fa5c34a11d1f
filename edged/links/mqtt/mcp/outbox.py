"""What leaves for the broker, counted: how much waits, and what was lost or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from edged.links.mqtt.values import Publication, Publisher
from edged.metrics import Tally

_CONGESTED_BYTES: Final = 256 * 1024
_FAILURE: Final = 0x80  # reason codes from here on are errors (MQTT 5, 2.4)


class Outbox:
    """Sends through a publisher; `drained` is called when what waits has shrunk again after it was much."""

    def __init__(self, counts: Tally, drained: Callable[[], None]) -> None:
        self.publisher: Publisher | None = None
        self._counts = counts
        self._drained = drained
        self._waiting_bytes = 0
        self._was_congested = False

    @property
    def congested(self) -> bool:
        """Whether much waits, so that what can be told later should be."""
        if self._waiting_bytes > _CONGESTED_BYTES:
            self._was_congested = True
        return self._was_congested

    def send(self, publication: Publication) -> None:
        """Publish; what becomes of it is counted."""
        if self.publisher is None:
            self._counts.add("lost")
            return
        future = self.publisher.publish(publication)
        if future.done():
            self._sent(0, future)
            return
        size = len(publication.payload)
        self._waiting_bytes += size
        future.add_done_callback(partial(self._sent, size))

    def send_from_thread(self, publication: Publication) -> None:
        """Likewise on any thread, uncounted."""
        if self.publisher is not None:
            self.publisher.publish_from_thread(publication)

    def _sent(self, size: int, future: asyncio.Future[int]) -> None:
        self._waiting_bytes -= size
        if future.cancelled() or (failure := future.exception()):
            self._counts.add("lost" if future.cancelled() else f"lost: {type(failure).__name__}")
        elif (code := future.result()) >= _FAILURE:
            self._counts.add(f"refused by the broker: 0x{code:02x}")
        if self._was_congested and self._waiting_bytes <= _CONGESTED_BYTES // 2:
            self._was_congested = False
            self._drained()
