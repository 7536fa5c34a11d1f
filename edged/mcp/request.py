"""A request on its way: what came, what runs for it, and what its conversation needs of the connection.

Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET

from edged.errors import EdgedError
from edged.mcp import jsonrpc
from edged.mcp.catalog import Peer, Principal, ToolResult
from edged.mcp.jsonrpc import Failure, Id, Message
from edged.mcp.modern import Meta
from edged.mcp.schema import explain
from edged.mcp.splice import Splices

if TYPE_CHECKING:  # a conversation holds its requests
    from edged.mcp.conversation import Conversation

P = TypeVar("P")


class Outlet(Peer, Protocol):
    """What a conversation needs of its connection."""

    def send(self, message: bytes) -> None:
        """Frame and send one message; never blocks, never raises, never closes the conversation meanwhile."""

    def send_from_thread(self, message: bytes) -> None:
        """Likewise, on any thread."""

    def work(self, call: InFlight, work: Awaitable[object]) -> None:
        """Await `work`, then hand its result or exception to `Conversation.settle`, exactly once."""

    def cancel(self, call: InFlight) -> None:
        """Cancel that work; `settle` is called all the same."""


class Shape(Protocol):
    """How the outcomes of one kind of handler look on the wire."""

    def body(self, outcome: Any) -> object:
        """The result member for what a handler gave."""

    def excuse(self, exc: EdgedError) -> object:
        """The result member for what a handler raised; raises Failure where it is an error member instead."""


class Batch:
    """The answers of one JSON-RPC array, sent together when the last is there."""

    __slots__ = ("answers", "waiting")

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.waiting = 1


class Request:
    """A request on its way to a handler."""

    __slots__ = ("batch", "id", "meta", "method", "params", "size_bytes", "splices")

    def __init__(
        self,
        message: Message,
        request_id: Id,
        meta: Meta,
        *,
        splices: Splices | None,
        batch: Batch | None,
        size_bytes: int,
    ) -> None:
        self.id = request_id
        self.method = message.method
        self.params = message.params
        self.meta = meta
        self.splices = splices
        self.batch = batch
        self.size_bytes = size_bytes

    def read(self, decoder: msgspec.json.Decoder[P]) -> P:
        """The parameters; raises Failure naming the path at fault."""
        try:
            return decoder.decode(self.params)
        except msgspec.ValidationError as exc:
            raise Failure(jsonrpc.INVALID_PARAMS, explain(exc)) from None


class InFlight:
    """A call whose handler runs: what the handler sees (`catalog.Call`), and what is due when it ends."""

    __slots__ = (
        "_conversation",
        "_done",
        "_open",
        "_token",
        "answered",
        "batch",
        "id",
        "method",
        "shape",
        "size_bytes",
        "text",
        "trace",
    )

    def __init__(self, conversation: Conversation, request: Request, shape: Shape) -> None:
        self._conversation = conversation
        self._token = request.meta.progress_token
        self._done: float | None = None
        self.id = request.id
        self.method = request.method
        self.batch = request.batch
        self.size_bytes = request.size_bytes
        self.trace = request.meta.traceparent
        self.shape = shape
        self.text: bytes | None = None
        """The answer, where a thread gave it and it is part of a batch."""
        self.answered = False
        """Whether a thread answered it; its work is as good as over."""
        self._open = [True]

    def close(self) -> bool:
        """End it; whether this did. Of several threads one is told so: whoever is may answer."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    @property
    def principal(self) -> Principal:
        """See `catalog.Call`."""
        return self._conversation.principal

    @property
    def peer(self) -> Peer:
        """See `catalog.Call`."""
        return self._conversation.outlet

    def answer(self, result: ToolResult) -> Callable[[], None]:
        """See `catalog.Call`."""
        return self._conversation.answered(self, result)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """See `catalog.Call`."""
        if self._token is UNSET or not self._open or (self._done is not None and done <= self._done):
            return
        self._done = done
        self._conversation.send_progress(self._token, done, total, message)
