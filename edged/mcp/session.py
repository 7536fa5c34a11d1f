"""Where the protocol meets asyncio: a peer's unfinished work as tasks.

A `Session` is the `Outlet` of one conversation on one `Wire`. The link owns the TaskGroup; a session only
cancels what it started there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Protocol

from edged.mcp.catalog import Principal
from edged.mcp.jsonrpc import Id
from edged.mcp.request import InFlight
from edged.mcp.revision import Revision
from edged.mcp.server import Server

_log = logging.getLogger(__name__)


class Wire(Protocol):
    """A link's end of one connection."""

    def write(self, message: bytes) -> None:
        """Frame and send one message; never blocks, never raises, never closes the session before it returns."""

    def write_from_thread(self, message: bytes) -> None:
        """Likewise, on any thread."""

    @property
    def congested(self) -> bool:
        """Whether what was written before still waits; `Session.catch_up` is due once it is not."""

    def take_descriptor(self) -> int | None:
        """The oldest descriptor received and not yet taken."""

    def settled(self) -> None:
        """A call of this session ended."""


class Session:
    """One peer: its conversation, its running work, and what to do when it goes."""

    def __init__(self, server: Server, principal: Principal, wire: Wire, tasks: asyncio.TaskGroup) -> None:
        self.principal = principal
        self._server = server
        self._wire = wire
        self._tasks = tasks
        self._running: dict[InFlight, asyncio.Future[object]] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._conversation = server.connect(self, principal)
        self.receive = self._conversation.receive
        self.take = self._conversation.take
        self.refuse = self._conversation.refuse
        self.catch_up = self._conversation.catch_up

    @property
    def busy(self) -> bool:
        """Whether a call still runs."""
        return bool(self._running)

    @property
    def revision(self) -> Revision | None:
        """What a handshake agreed, None before one."""
        return self._conversation.revision

    def end_subscriptions(self) -> None:
        """Say that nothing more will come on any subscription."""
        self._server.end_subscriptions(self._conversation)

    def close(self) -> None:
        """Cancel everything and tell who asked; the wire is gone."""
        self._server.disconnect(self._conversation)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one that fails must not keep the others from hearing
                _log.exception("close callback failed principal=%s", self.principal.name)

    def send(self, message: bytes) -> None:
        """See `Outlet`."""
        self._wire.write(message)

    def send_about(self, _request_id: Id | None, message: bytes) -> None:
        """See `Outlet`; a wire that carries one stream needs to know no more than the message."""
        self._wire.write(message)

    def send_from_thread(self, message: bytes) -> None:
        """See `Outlet`."""
        self._wire.write_from_thread(message)

    @property
    def congested(self) -> bool:
        """See `Outlet`."""
        return self._wire.congested

    def on_close(self, callback: Callable[[], None]) -> None:
        """See `Peer`."""
        self._callbacks.append(callback)

    def take_descriptor(self) -> int | None:
        """See `Peer`."""
        return self._wire.take_descriptor()

    def work(self, call: InFlight, work: Awaitable[object]) -> None:
        """See `Outlet`."""
        future = work if isinstance(work, asyncio.Future) else self._tasks.create_task(_await(work))
        self._running[call] = future
        future.add_done_callback(partial(self._ended, call, work))

    def cancel(self, call: InFlight) -> None:
        """See `Outlet`."""
        self._running[call].cancel()

    def _ended(self, call: InFlight, work: Awaitable[object], future: asyncio.Future[object]) -> None:
        del self._running[call]
        if future.cancelled():
            outcome: object = asyncio.CancelledError("the handler was cancelled")
            if isinstance(work, Coroutine):
                work.close()  # cancelled before its first step
        else:
            outcome = future.exception() or future.result()
        self._conversation.settle(call, outcome)
        self._wire.settled()


async def _await(work: Awaitable[object]) -> object:
    """What `work` gives or raises, as a value: a TaskGroup must not see a handler fail."""
    try:
        return await work
    except Exception as exc:  # noqa: BLE001 - the request boundary: the conversation logs and answers it
        return exc
