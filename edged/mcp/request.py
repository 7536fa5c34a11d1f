"""A request on its way: what came, what runs for it, and what its conversation needs of the connection.

Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Raw

from edged.errors import EdgedError
from edged.mcp import jsonrpc, questions
from edged.mcp.asking import InputRequired, Question
from edged.mcp.catalog import LogLevel, Peer, Principal, ToolResult
from edged.mcp.jsonrpc import Failure, Id, Message
from edged.mcp.levels import at_least
from edged.mcp.modern import Meta
from edged.mcp.revision import Revision
from edged.mcp.schema import explain
from edged.mcp.splice import Splices

if TYPE_CHECKING:  # a conversation holds its requests
    from edged.mcp.conversation import Conversation

P = TypeVar("P")

_TAKEN = Raw(b"{}")


class Outlet(Peer, Protocol):
    """What a conversation needs of its connection. Sending never blocks, raises or closes the conversation."""

    @property
    def congested(self) -> bool:
        """Whether what was sent before still waits to be read; `Conversation.catch_up` is due once it is not."""

    def send(self, message: bytes) -> None:
        """Frame and send one message: an answer, or what belongs to no request."""

    def send_about(self, request_id: Id | None, message: bytes) -> None:
        """Likewise what belongs to a request that has no answer yet: its progress, log, questions, or stream."""

    def send_from_thread(self, message: bytes) -> None:
        """Send an answer, on any thread."""

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
    """A request on its way to a handler; the router says which revision it is of.

    `subject` and `answers` are set for requests whose handlers may ask: what it is about, beside the arguments,
    and what the client answered so far.
    """

    __slots__ = (
        "answers",
        "batch",
        "id",
        "meta",
        "method",
        "params",
        "patience_s",
        "revision",
        "size_bytes",
        "splices",
        "subject",
    )

    revision: Revision

    def __init__(
        self,
        message: Message,
        request_id: Id,
        meta: Meta,
        *,
        splices: Splices | None,
        batch: Batch | None,
        size_bytes: int,
        patience_s: float | None = None,
    ) -> None:
        self.id = request_id
        self.method = message.method
        self.params = message.params
        self.meta = meta
        self.splices = splices
        self.batch = batch
        self.size_bytes = size_bytes
        self.patience_s = patience_s
        self.subject: str | None = None
        self.answers: dict[str, object] | None = None

    def read(self, decoder: msgspec.json.Decoder[P]) -> P:
        """The parameters; raises Failure naming the path at fault."""
        try:
            return decoder.decode(self.params)
        except msgspec.ValidationError as exc:
            raise Failure(jsonrpc.INVALID_PARAMS, explain(exc)) from None

    def forget_text(self) -> None:
        """Let go of what was parsed: the handler has it."""
        self.params = _TAKEN
        self.splices = None


class InFlight:
    """A call whose handler runs: what the handler sees (`catalog.Call`), and what is due when it ends."""

    __slots__ = (
        "_conversation",
        "_done",
        "_open",
        "answered",
        "arguments",
        "handler",
        "request",
        "shape",
        "text",
    )

    def __init__(
        self,
        conversation: Conversation,
        request: Request,
        shape: Shape,
        handler: Callable[[Any, Any], object],
        arguments: Any,
    ) -> None:
        self._conversation = conversation
        self._done: float | None = None
        self.request = request
        self.shape = shape
        self.handler = handler
        self.arguments = arguments
        self.answered = False
        """Whether a thread answered it: its work is as good as over."""
        self.text: bytes | None = None
        """That answer, where it is part of a batch."""
        self._open = [True]

    @property
    def open(self) -> bool:
        """Whether anything may still be sent for it."""
        return bool(self._open)

    def close(self) -> bool:
        """End it; whether this did. Of several threads one is told so: whoever is may answer."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    @property
    def id(self) -> Id:
        """The request's."""
        return self.request.id

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
        return self._conversation.answer_from_thread(self, result)

    @property
    def trace(self) -> str | None:
        """See `catalog.Call`."""
        return self.request.meta.traceparent

    @property
    def patience_s(self) -> float | None:
        """See `catalog.Call`."""
        return self.request.patience_s

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the client says it can do: in the stateless era with this very request."""
        declared = self.request.meta.capabilities
        if self.request.revision.stateless:
            return {} if declared is UNSET else declared
        return self._conversation.client_capabilities

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """See `catalog.Call`."""
        token = self.request.meta.progress_token
        if token is UNSET or not self.open or (self._done is not None and done <= self._done):
            return
        self._done = done
        params: dict[str, object] = {"progressToken": token, "progress": done}
        if total is not None:
            params["total"] = total
        if message is not None and self.request.revision.annotations:
            params["message"] = message
        self._notify("notifications/progress", params)

    def log(self, level: LogLevel, data: object, logger: str | None = None) -> None:
        """See `catalog.Call`."""
        stateless = self.request.revision.stateless
        asked = self.request.meta.log_level if stateless else self._conversation.log_level
        if not self.open or asked is None or asked is UNSET or not at_least(level, asked):
            return
        params = {"level": level, "data": data} | ({"logger": logger} if logger else {})
        self._notify("notifications/message", params)

    def _notify(self, method: str, params: dict[str, object]) -> None:
        self._conversation.outlet.send_about(self.id, jsonrpc.notification(method, params))

    def can(self, kind: type[Question]) -> bool:
        """See `catalog.Call`."""
        return questions.takes(kind, self.capabilities, self.request.revision)

    def ask(self, key: str, question: Question) -> Any:
        """See `catalog.Call`."""
        return self.ask_all({key: question})[key]

    def ask_all(self, wanted: Mapping[str, Question]) -> dict[str, Any]:
        """See `catalog.Call`."""
        if self.request.subject is None:
            raise TypeError(f"{self.request.method} may not ask the client anything")
        known = self.request.answers or {}
        missing = {key: question for key, question in wanted.items() if key not in known}
        if missing:
            questions.check_taken(missing, self.capabilities, self.request.revision)
            raise InputRequired(missing)
        return {key: questions.read(key, question, known[key]) for key, question in wanted.items()}
