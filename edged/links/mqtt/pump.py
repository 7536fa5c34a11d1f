"""A bridge between two file descriptors, which block: each is read or written on a thread of its own."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Final

from edged.links.mqtt.bridge import Bridge
from edged.links.mqtt.config import MqttConfig

_HELD_MAX: Final = 4096
"""Messages that a host has not read; one more, and it is given up."""
_EX_UNAVAILABLE: Final = 69  # sysexits.h


def pump(
    config: MqttConfig, device: str, me: str, wait_s: float = 10.0, source: int = 0, sink: int = 1
) -> int:
    """Carry messages until the end of `source`, and until what is due then is answered; the exit code.

    0: all was carried. 69: the host stopped reading. See Bridge for the arguments.
    """
    ends = _Ends(source, sink)
    code = asyncio.run(ends.carry(lambda give: Bridge(config, device, me, give, wait_s)))
    if code == 0:
        ends.drain()
    else:
        sys.stderr.write("edged: the host does not read any more\n")
    return code


class _Ends:
    """The host's two descriptors, and how it ends."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._lines: queue.Queue[bytes | None] = queue.Queue(_HELD_MAX)
        self._writer = threading.Thread(target=self._write, name="bridge-out", daemon=True)

    async def carry(self, make: Callable[[Callable[[bytes], None]], Bridge]) -> int:
        """Until either end is done; `make` gives the bridge that hands its messages to a function."""
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        bridge = make(self._give)
        self._writer.start()
        threading.Thread(target=self._read, args=(bridge,), name="bridge-in", daemon=True).start()
        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(bridge.connection.run(), name="bridge-connection")
            code = await self._over
            connecting.cancel()
        return code

    def drain(self) -> None:
        """Write what the host has yet to read."""
        self._lines.put(None)
        self._writer.join()

    def _read(self, bridge: Bridge) -> None:
        with os.fdopen(self._source, "rb", closefd=False) as host:
            for line in host:
                if line.strip():
                    asyncio.run_coroutine_threadsafe(bridge.say(line.strip()), self._loop).result()
        asyncio.run_coroutine_threadsafe(bridge.finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._end, 0)

    def _write(self) -> None:
        try:
            while (message := self._lines.get()) is not None:
                rest = memoryview(message + b"\n")
                while rest:
                    rest = rest[os.write(self._sink, rest) :]
        except OSError:  # the host is gone
            self._loop.call_soon_threadsafe(self._end, _EX_UNAVAILABLE)

    def _give(self, message: bytes) -> None:
        try:
            self._lines.put_nowait(message)
        except queue.Full:
            self._end(_EX_UNAVAILABLE)

    def _end(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)
