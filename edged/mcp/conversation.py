"""One peer's side of the protocol: what is in flight, cancelled, subscribed, or waiting in a batch.

Pure. Texts come in through `receive`; answers and notifications go out through the `Outlet`. Which method
does what is the server's business: a conversation asks its `Router`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import EdgedError, Overloaded
from edged.mcp import jsonrpc
from edged.mcp.catalog import Peer, Principal
from edged.mcp.config import McpConfig
from edged.mcp.jsonrpc import Failure, Id, Malformed, Message
from edged.mcp.modern import SUBSCRIPTION_KEY, Meta, SubscriptionFilter
from edged.mcp.revision import Revision
from edged.mcp.schema import explain
from edged.mcp.splice import Splices, Unspent, splice

_log = logging.getLogger(__name__)

_RETRY_AFTER_S: Final = 0.1

P = TypeVar("P")


class Outlet(Peer, Protocol):
    """What a conversation needs of its connection."""

    def send(self, message: bytes) -> None:
        """Frame and send one message; never blocks, never raises, never closes the conversation meanwhile."""

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


class Router(Protocol):
    """Runs the method a request names."""

    def route(self, conversation: Conversation, request: Request) -> None:
        """Answer the request or start its handler; raises Failure, and Unspent before it had any effect."""

    def notified(self, conversation: Conversation, message: Message) -> None:
        """Take note of a notification."""


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
        "_token",
        "batch",
        "id",
        "method",
        "open",
        "shape",
        "size_bytes",
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
        self.open = True

    @property
    def principal(self) -> Principal:
        """See `catalog.Call`."""
        return self._conversation.principal

    @property
    def peer(self) -> Peer:
        """See `catalog.Call`."""
        return self._conversation.outlet

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """See `catalog.Call`."""
        if self._token is UNSET or not self.open or (self._done is not None and done <= self._done):
            return
        self._done = done
        self._conversation.send_progress(self._token, done, total, message)


class _ParamsMeta(msgspec.Struct, frozen=True, gc=False):
    meta: Meta = msgspec.field(default=Meta(), name="_meta")


_meta_of = msgspec.json.Decoder(_ParamsMeta).decode


class Conversation:
    """The protocol's state on one connection; `revision` is what a handshake agreed, None before one."""

    def __init__(self, outlet: Outlet, principal: Principal, limits: McpConfig, router: Router) -> None:
        self.outlet = outlet
        self.principal = principal
        self.revision: Revision | None = None
        self.initialized = False
        self.running = 0
        self._running_bytes = 0
        self._limits = limits
        self._router = router
        self._open: dict[Id, InFlight | None] = {}  # None is a subscription
        self._subscriptions: dict[Id, SubscriptionFilter] = {}

    def receive(self, buffer: bytes | bytearray, start: int = 0, end: int | None = None) -> None:
        """Take in the message at buffer[start:end], which may be reused when this returns."""
        end = len(buffer) if end is None else end
        if spliced := splice(buffer, start, end):
            try:
                self._receive(*spliced, end - start)
            except Unspent:
                pass
            else:
                return
        self._receive(bytes(memoryview(buffer)[start:end]), None, end - start)

    def refuse(self, message: str) -> None:
        """Answer something that could not be taken in at all."""
        self.outlet.send(jsonrpc.error(Failure(jsonrpc.INVALID_REQUEST, message)))

    def _receive(self, text: bytes, splices: Splices | None, size_bytes: int) -> None:
        if jsonrpc.is_array(text):
            if splices:
                raise Unspent
            self._receive_batch(text)
        else:
            self._receive_one(text, splices, None, size_bytes)

    def _receive_batch(self, text: bytes) -> None:
        try:
            elements = self._batch_elements(text)
        except Malformed as failure:
            self.outlet.send(jsonrpc.error(failure))
            return
        batch = Batch()
        for element in elements:
            self._receive_one(bytes(element), None, batch, len(element))
        self._release(batch)

    def _batch_elements(self, text: bytes) -> list[Raw]:
        elements = jsonrpc.split_batch(text, self._limits.depth_max)
        if self.revision is None or not self.revision.batches:
            raise Malformed(
                jsonrpc.INVALID_REQUEST, "arrays of messages are of protocol version 2025-03-26 alone"
            )
        if len(elements) > self._limits.in_flight_max:
            raise Malformed(jsonrpc.INVALID_REQUEST, f"a batch of more than {self._limits.in_flight_max}")
        return elements

    def _receive_one(
        self, text: bytes, splices: Splices | None, batch: Batch | None, size_bytes: int
    ) -> None:
        request_id: Id | UnsetType = UNSET
        try:
            message = jsonrpc.parse(text, self._limits.depth_max)
            if message is None:
                return
            request_id = message.id
            if request_id is not UNSET:
                self._request(message, request_id, splices, batch, size_bytes)
            else:
                self._notified(message, splices)
        except Failure as failure:
            if splices:
                raise Unspent from None
            if isinstance(failure, Malformed):
                request_id = failure.id
            self._emit(jsonrpc.error(failure, request_id), batch)
        except Unspent:
            raise
        except Exception:  # noqa: BLE001 - the request boundary: whatever it was, the peer gets its one answer
            _log.exception("request failed principal=%s", self.principal.name)
            self._emit(jsonrpc.error(Failure(jsonrpc.INTERNAL_ERROR, "internal error"), request_id), batch)

    def _notified(self, message: Message, splices: Splices | None) -> None:
        if splices:
            raise Unspent
        self._router.notified(self, message)

    def _request(
        self, message: Message, request_id: Id, splices: Splices | None, batch: Batch | None, size_bytes: int
    ) -> None:
        try:
            meta = _meta_of(message.params).meta
        except msgspec.ValidationError as exc:
            raise Failure(jsonrpc.INVALID_PARAMS, explain(exc)) from None
        if request_id in self._open:
            raise Failure(jsonrpc.INVALID_REQUEST, "id: in use by a request in flight")
        request = Request(message, request_id, meta, splices=splices, batch=batch, size_bytes=size_bytes)
        self._router.route(self, request)

    def answer(self, request: Request, body: object) -> None:
        """Answer a request that needed no handler."""
        self._emit(jsonrpc.result(request.id, body), request.batch)

    def start(
        self, request: Request, shape: Shape, handler: Callable[[Any, Any], object], arguments: msgspec.Struct
    ) -> None:
        """Run a handler; answer now if it is done, else when its work is."""
        call = InFlight(self, request, shape)
        try:
            self._check_room(request)
            outcome = handler(call, arguments)
        except Exception as exc:  # noqa: BLE001 - the request boundary: `_finish` logs what is not ours
            outcome = exc
        if not isinstance(outcome, Awaitable):
            self._finish(call, outcome)
            return
        self._open[call.id] = call
        self.running += 1
        self._running_bytes += call.size_bytes
        if call.batch:
            call.batch.waiting += 1
        self.outlet.work(call, outcome)

    def settle(self, call: InFlight, outcome: object) -> None:
        """Answer a call whose work is done, with its result or exception, unless it was cancelled."""
        self.running -= 1
        self._running_bytes -= call.size_bytes
        if call.open:
            del self._open[call.id]
            self._finish(call, outcome)
            if call.batch:
                self._release(call.batch)

    def cancel(self, request_id: Id) -> None:
        """Stop a request; nothing more is sent for it. One that is not in flight is ignored."""
        if request_id not in self._open:
            return
        call = self._open.pop(request_id)
        self._subscriptions.pop(request_id, None)
        if call:
            call.open = False
            self.outlet.cancel(call)
            if call.batch:
                self._release(call.batch)

    def subscribe(self, request: Request, granted: SubscriptionFilter) -> None:
        """Open a subscription and acknowledge it; raises Failure when the peer has as many as it may."""
        if len(self._subscriptions) >= self._limits.subscriptions_max:
            raise Failure(jsonrpc.BUSY, f"more than {self._limits.subscriptions_max} subscriptions")
        self._open[request.id] = None
        self._subscriptions[request.id] = granted
        params = {"notifications": granted, "_meta": {SUBSCRIPTION_KEY: request.id}}
        self.outlet.send(jsonrpc.notification("notifications/subscriptions/acknowledged", params))

    def tools_changed(self) -> None:
        """Tell the peer that its list of tools is stale, in each way it asked to be told."""
        method = "notifications/tools/list_changed"
        if self.initialized:
            self.outlet.send(jsonrpc.notification(method, {}))
        for request_id, granted in self._subscriptions.items():
            if granted.tools_list_changed:
                self.outlet.send(jsonrpc.notification(method, {"_meta": {SUBSCRIPTION_KEY: request_id}}))

    def end_subscriptions(self, body: Callable[[Id], object]) -> None:
        """Close every subscription gracefully, with the final result `body` makes of its id."""
        for request_id in tuple(self._subscriptions):
            del self._subscriptions[request_id], self._open[request_id]
            self.outlet.send(jsonrpc.result(request_id, body(request_id)))

    def close(self) -> None:
        """Cancel everything: the connection is gone."""
        for request_id in tuple(self._open):
            self.cancel(request_id)

    def send_progress(self, token: Id, done: float, total: float | None, message: str | None) -> None:
        """Send one progress notification."""
        params: dict[str, object] = {"progressToken": token, "progress": done}
        if total is not None:
            params["total"] = total
        if message is not None and (self.revision is None or self.revision.annotations):
            params["message"] = message
        self.outlet.send(jsonrpc.notification("notifications/progress", params))

    def _check_room(self, request: Request) -> None:
        limits = self._limits
        if self.running >= limits.in_flight_max:
            raise Overloaded(f"{limits.in_flight_max} calls of this peer are in flight", _RETRY_AFTER_S)
        if self._running_bytes + request.size_bytes > limits.in_flight_max_bytes:
            raise Overloaded(f"{limits.in_flight_max_bytes} bytes of this peer are in flight", _RETRY_AFTER_S)

    def _finish(self, call: InFlight, outcome: object) -> None:
        call.open = False
        try:
            if isinstance(outcome, EdgedError):
                text = jsonrpc.result(call.id, call.shape.excuse(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome  # noqa: TRY301 - to the one place that logs it
            else:
                text = jsonrpc.result(call.id, call.shape.body(outcome))
        except Failure as failure:
            text = jsonrpc.error(failure, call.id)
        except BaseException:  # noqa: BLE001 - the request boundary: a peer hears nothing of it but that it happened
            _log.exception("handler failed method=%s principal=%s", call.method, self.principal.name)
            text = jsonrpc.error(Failure(jsonrpc.INTERNAL_ERROR, "internal error"), call.id)
        self._emit(text, call.batch)

    def _emit(self, text: bytes, batch: Batch | None) -> None:
        if batch is None:
            self.outlet.send(text)
        else:
            batch.answers.append(text)

    def _release(self, batch: Batch) -> None:
        batch.waiting -= 1
        if batch.waiting == 0 and batch.answers:
            self.outlet.send(b"[" + b",".join(batch.answers) + b"]")
