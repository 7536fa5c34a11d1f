"""One peer's side of the protocol: what is in flight, cancelled, subscribed, or waiting in a batch.

Pure. Texts come in through `receive`; answers and notifications go out through the `Outlet`. Which method
does what is the server's business: a conversation asks its `Router`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import EdgedError, Overloaded
from edged.mcp import jsonrpc
from edged.mcp.catalog import Principal
from edged.mcp.config import McpConfig
from edged.mcp.jsonrpc import Failure, Id, Malformed, Message
from edged.mcp.modern import SUBSCRIPTION_KEY, Meta, SubscriptionFilter
from edged.mcp.request import Batch, InFlight, Outlet, Request, Shape
from edged.mcp.revision import Revision
from edged.mcp.schema import explain
from edged.mcp.splice import Splices, Unspent, splice

_log = logging.getLogger(__name__)

_RETRY_AFTER_S: Final = 0.1
_INTERNAL_ERROR: Final = Failure(jsonrpc.INTERNAL_ERROR, "internal error")


def _nothing() -> None:
    """Send nothing."""


class Router(Protocol):
    """Runs the method a request names."""

    def route(self, conversation: Conversation, request: Request) -> None:
        """Answer the request or start its handler; raises Failure, and Unspent before it had any effect."""

    def notified(self, conversation: Conversation, message: Message) -> None:
        """Take note of a notification."""


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
        self._counted: set[InFlight] = set()
        self._counted_bytes = 0
        self._limits = limits
        self._router = router
        self._open: dict[Id, InFlight | None] = {}  # None is a subscription
        self._subscriptions: dict[Id, SubscriptionFilter] = {}

    @property
    def running(self) -> int:
        """Calls whose work has not ended."""
        return len(self._counted)

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
            if (message := jsonrpc.parse(text, self._limits.depth_max)) is not None:
                request_id = message.id
                self._take(message, splices, batch, size_bytes)
        except Unspent:
            raise
        except Exception as exc:  # noqa: BLE001 - the request boundary: one message must not harm the others
            if splices:
                raise Unspent from None
            request_id = exc.id if isinstance(exc, Malformed) else request_id
            self._emit(jsonrpc.error(self._failure_of(exc), request_id), batch)

    def _failure_of(self, exc: BaseException) -> Failure:
        """What a peer is told: a Failure as it is; of anything else, which is logged here, only that it happened."""
        if isinstance(exc, Failure):
            return exc
        _log.error("request failed principal=%s", self.principal.name, exc_info=exc)
        return _INTERNAL_ERROR

    def _take(self, message: Message, splices: Splices | None, batch: Batch | None, size_bytes: int) -> None:
        if message.id is not UNSET:
            self._request(message, message.id, splices, batch, size_bytes)
        elif splices:
            raise Unspent
        else:
            self._router.notified(self, message)

    def _request(
        self, message: Message, request_id: Id, splices: Splices | None, batch: Batch | None, size_bytes: int
    ) -> None:
        try:
            meta = _meta_of(message.params).meta
        except msgspec.ValidationError as exc:
            raise Failure(jsonrpc.INVALID_PARAMS, explain(exc)) from None
        if request_id in self._open:
            self._catch_up()
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
        except Exception as exc:  # noqa: BLE001 - the request boundary: `_encoded` logs what is not ours
            outcome = exc
        if not isinstance(outcome, Awaitable):
            call.close()
            self._emit(self._encoded(call, outcome), call.batch)
            return
        self._open[call.id] = call
        self._counted.add(call)
        self._counted_bytes += call.size_bytes
        if call.batch:
            call.batch.waiting += 1
        self.outlet.work(call, outcome)

    def settle(self, call: InFlight, outcome: object) -> None:
        """Answer a call whose work is done, with its result or exception, unless it was cancelled."""
        self._discount(call)
        if call.close():
            self._emit(self._encoded(call, outcome), call.batch)
        elif call.text is not None and call.batch:
            call.batch.answers.append(call.text)
        else:
            return
        if call.batch:
            self._release(call.batch)

    def answered(self, call: InFlight, outcome: object) -> Callable[[], None]:
        """Encode an outcome on any thread, unless the call was cancelled; what this gives sends it.

        `settle` follows all the same; an answer that is part of a batch is sent there.
        """
        if not call.close():
            return _nothing
        text = self._encoded(call, outcome)
        call.answered = True
        if call.batch:
            call.text = text
            return _nothing
        return partial(self.outlet.send_from_thread, text)

    def cancel(self, request_id: Id) -> None:
        """Stop a request; nothing more is sent for it. One that is not in flight is ignored."""
        if request_id not in self._open:
            return
        call = self._open.pop(request_id)
        self._subscriptions.pop(request_id, None)
        if call and call.close():
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
        if lacking := self._lacking(request):
            self._catch_up()
            if lacking := self._lacking(request):
                raise Overloaded(f"{lacking} of this peer are in flight", _RETRY_AFTER_S)

    def _lacking(self, request: Request) -> str | None:
        """What there are too many of for one more call."""
        limits = self._limits
        if len(self._counted) >= limits.in_flight_max:
            return f"{limits.in_flight_max} calls"
        if self._counted_bytes + request.size_bytes > limits.in_flight_max_bytes:
            return f"{limits.in_flight_max_bytes} bytes"
        return None

    def _catch_up(self) -> None:
        """Count no more what a thread has answered already; `settle` is on its way."""
        for call in [call for call in self._counted if call.answered]:
            self._discount(call)

    def _discount(self, call: InFlight) -> None:
        if call in self._counted:
            self._counted.remove(call)
            self._counted_bytes -= call.size_bytes
        if self._open.get(call.id) is call:
            del self._open[call.id]

    def _encoded(self, call: InFlight, outcome: object) -> bytes:
        try:
            if isinstance(outcome, EdgedError):
                return jsonrpc.result(call.id, call.shape.excuse(outcome))
            if isinstance(outcome, BaseException):
                return jsonrpc.error(self._failure_of(outcome), call.id)
            return jsonrpc.result(call.id, call.shape.body(outcome))
        except Exception as exc:  # noqa: BLE001 - the request boundary: a result may be one that cannot be encoded
            return jsonrpc.error(self._failure_of(exc), call.id)

    def _emit(self, text: bytes, batch: Batch | None) -> None:
        if batch is None:
            self.outlet.send(text)
        else:
            batch.answers.append(text)

    def _release(self, batch: Batch) -> None:
        batch.waiting -= 1
        if batch.waiting == 0 and batch.answers:
            self.outlet.send(b"[" + b",".join(batch.answers) + b"]")
