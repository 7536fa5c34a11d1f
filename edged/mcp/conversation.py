"""One peer's side of the protocol: what is in flight, cancelled, subscribed, asked, or waiting in a batch.

Pure. Texts come in through `receive`; answers and notifications go out through the `Outlet`. Which method
does what is the server's business: a conversation asks its `Router`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeGuard

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.errors import EdgedError, NotAllowed, Overloaded
from edged.mcp import jsonrpc, trace
from edged.mcp.asking import InputRequired
from edged.mcp.catalog import Job, LogLevel, Principal
from edged.mcp.config import McpConfig
from edged.mcp.inquiry import Inquiries
from edged.mcp.jsonrpc import Failure, Id, Malformed, Message, Response
from edged.mcp.modern import SUBSCRIPTION_KEY, Meta
from edged.mcp.request import Batch, InFlight, Outlet, Request, Shape
from edged.mcp.revision import Revision
from edged.mcp.schema import explain
from edged.mcp.splice import LARGE_BYTES, Splices, Unspent, splice
from edged.mcp.subscriptions import Listener, SubscriptionFilter
from edged.mcp.tally import Tally

_log = logging.getLogger(__name__)

_RETRY_AFTER_S: Final = 0.1
_INTERNAL_ERROR: Final = Failure(jsonrpc.INTERNAL_ERROR, "internal error")
_UNFINISHED: Final = (Job, InputRequired)


def _nothing() -> None:
    """Send nothing."""


class Router(Protocol):
    """Runs the method a request names."""

    def route(self, conversation: Conversation, request: Request) -> None:
        """Answer the request or start its handler; raises Failure, and Unspent before it had any effect."""

    def notified(self, conversation: Conversation, message: Message) -> None:
        """Take note of a notification."""

    def defer(self, call: InFlight, job: Job) -> Awaitable[object]:
        """What to await for a job: its own result, or that it has become a task."""

    def ask_in_result(self, call: InFlight, required: InputRequired) -> object:
        """The result member that asks a client of the stateless era, and lets it come back with the answers."""

    def unlisten(self, listener: Listener) -> None:
        """Forget a listener."""

    def refused(self, principal: Principal, what: str, why: str) -> None:
        """Take note that somebody asked for what he may not; on any thread."""


class _ParamsMeta(msgspec.Struct, frozen=True, gc=False):
    meta: Meta = msgspec.field(default=Meta(), name="_meta")


_meta_of = msgspec.json.Decoder(_ParamsMeta).decode


class Conversation:
    """The protocol's state on one connection; `revision` is what a handshake agreed, None before one."""

    def __init__(self, outlet: Outlet, principal: Principal, limits: McpConfig, router: Router) -> None:
        self.outlet = outlet
        self.principal = principal
        self.revision: Revision | None = None
        self.client_capabilities: Mapping[str, Any] = {}
        self.log_level: LogLevel | None = None
        self.listener: Listener | None = None
        """What a handshake peer hears without asking, once it is initialized."""
        self._tally = Tally(limits)
        self._limits = limits
        self._router = router
        self._open: dict[Id, InFlight | Listener] = {}
        self._listeners: dict[Id, Listener] = {}
        self._inquiries: Inquiries | None = None
        self._patience_s: float | None = None

    @property
    def running(self) -> int:
        """Calls whose work has not ended."""
        return len(self._tally)

    def receive(self, buffer: bytes | bytearray, start: int = 0, end: int | None = None) -> None:
        """Take in the message at buffer[start:end], which may be reused when this returns."""
        end = len(buffer) if end is None else end
        if end - start >= LARGE_BYTES and (spliced := splice(buffer, start, end)):
            try:
                self._receive(*spliced, end - start)
            except Unspent:
                pass
            else:
                return
        self._receive(bytes(memoryview(buffer)[start:end]), None, end - start)

    def take(
        self, text: bytes, splices: Splices | None, size_bytes: int, patience_s: float | None = None
    ) -> None:
        """Likewise for a link that sets large strings aside itself, and knows how long the peer waits.

        Raises Unspent where the message has to come whole; it had no effect then.
        """
        self._patience_s = patience_s
        try:
            self._receive(text, splices, size_bytes)
        finally:
            self._patience_s = None

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
            if type(message) is Message:
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

    def _take(
        self,
        message: Message | Response | None,
        splices: Splices | None,
        batch: Batch | None,
        size_bytes: int,
    ) -> None:
        if type(message) is Message and message.id is not UNSET:
            self._request(message, message.id, splices, batch, size_bytes)
        elif splices:
            raise Unspent
        elif type(message) is Message:
            self._router.notified(self, message)
        elif type(message) is Response:
            self._answered(message)

    def _request(
        self, message: Message, request_id: Id, splices: Splices | None, batch: Batch | None, size_bytes: int
    ) -> None:
        try:
            meta = _meta_of(message.params).meta
        except msgspec.ValidationError as exc:
            raise Failure(jsonrpc.INVALID_PARAMS, explain(exc)) from None
        if request_id in self._open:
            self._forget_answered()
            if request_id in self._open:
                raise Failure(jsonrpc.INVALID_REQUEST, "id: in use by a request in flight")
        request = Request(
            message,
            request_id,
            meta,
            splices=splices,
            batch=batch,
            size_bytes=size_bytes,
            patience_s=self._patience_s,
        )
        if meta.traceparent is None:
            self._router.route(self, request)
        else:
            with trace.carried(meta.traceparent, meta.tracestate, meta.baggage):
                self._router.route(self, request)

    def answer(self, request: Request, body: object) -> None:
        """Answer a request that needed no handler."""
        self._emit(jsonrpc.result(request.id, body), request.batch)

    def start(
        self, request: Request, shape: Shape, handler: Callable[[Any, Any], object], arguments: Any
    ) -> None:
        """Run a handler; answer now if it is done, else when its work is."""
        call = InFlight(self, request, shape, handler, arguments)
        try:
            self._check_room(request)
            outcome = handler(call, arguments)
        except Exception as exc:  # noqa: BLE001 - the request boundary: `_encoded` logs what is not ours
            outcome = exc
        if _takes_time(outcome):
            self._admit(call)
            self.outlet.work(call, outcome)
        elif type(outcome) not in _UNFINISHED:
            call.close()
            self._emit(self._encoded(call, outcome), request.batch)
        else:
            self._admit(call)
            self.settle(call, outcome)

    def settle(self, call: InFlight, outcome: object) -> None:
        """Answer a call whose work is done, with its result or exception, unless it was cancelled or goes on."""
        if type(outcome) in _UNFINISHED and call.open and self._goes_on(call, outcome):
            return
        self._leave(call)
        batch = call.request.batch
        if call.close():
            self._emit(self._encoded(call, outcome), batch)
        elif batch and call.text is not None:
            batch.answers.append(call.text)
        else:
            return
        if batch:
            self._release(batch)

    def answer_from_thread(self, call: InFlight, outcome: object) -> Callable[[], None]:
        """Encode an outcome on any thread, unless the call was cancelled; what this gives sends it.

        `settle` follows all the same; an answer that is part of a batch is sent there.
        """
        if not call.close():
            return _nothing
        text = self._encoded(call, outcome)
        call.answered = True
        if call.request.batch:
            call.text = text
            return _nothing
        return partial(self.outlet.send_from_thread, text)

    def _admit(self, call: InFlight) -> None:
        request = call.request
        request.forget_text()
        self._open[request.id] = call
        self._tally.add(call)
        if request.batch:
            request.batch.waiting += 1

    def _leave(self, call: InFlight) -> None:
        self._tally.remove(call)
        if self._open.get(call.id) is call:
            del self._open[call.id]

    def _forget_answered(self) -> None:
        """Take the calls that a thread has answered as over: `settle` is on its way."""
        for call in self._tally.answered():
            self._leave(call)

    def _goes_on(self, call: InFlight, outcome: object) -> bool:
        """Whether more is to be awaited: a job, or a handshake client's answers."""
        if isinstance(outcome, Job):
            try:
                work = self._router.defer(call, outcome)
            except Failure as failure:
                self.settle(call, failure)
            else:
                self.outlet.work(call, work)
            return True
        if call.request.revision.stateless or not isinstance(outcome, InputRequired):
            return False
        self._inquiries = self._inquiries or Inquiries(self.outlet)
        self._inquiries.ask(call, outcome.questions)
        return True

    def _answered(self, response: Response) -> None:
        """Go on with the call whose last question this answers."""
        if self._inquiries and (resumed := self._inquiries.answered(response)):
            call, refusal = resumed
            outcome: object = refusal or self._once_more(call)
            if _takes_time(outcome):
                self.outlet.work(call, outcome)
            else:
                self.settle(call, outcome)

    def _once_more(self, call: InFlight) -> object:
        try:
            return call.handler(call, call.arguments)
        except Exception as exc:  # noqa: BLE001 - the request boundary: `_encoded` logs what is not ours
            return exc

    def cancel(self, request_id: Id) -> None:
        """Stop a request; nothing more is sent for it. One that is not in flight is ignored."""
        if request_id not in self._open:
            return
        found = self._open.pop(request_id)
        if isinstance(found, Listener):
            del self._listeners[request_id]
            self._router.unlisten(found)
            return
        if not found.close():
            return
        if self._inquiries and self._inquiries.withdraw(found):
            self._leave(found)
        else:
            self.outlet.cancel(found)
        if batch := found.request.batch:
            self._release(batch)

    def subscribe(self, request: Request, granted: SubscriptionFilter) -> Listener:
        """Open a subscription and acknowledge it; raises Failure when the peer has as many as it may."""
        if len(self._listeners) >= self._limits.subscriptions_max:
            raise Failure(jsonrpc.BUSY, f"more than {self._limits.subscriptions_max} subscriptions")
        listener = Listener(self.outlet, self.principal.tier, request.id)
        self._open[request.id] = self._listeners[request.id] = listener
        params = {"notifications": granted, "_meta": {SUBSCRIPTION_KEY: request.id}}
        self.outlet.send_about(
            request.id, jsonrpc.notification("notifications/subscriptions/acknowledged", params)
        )
        return listener

    def catch_up(self) -> None:
        """Send what was held back while the peer did not read."""
        for listener in self._listeners.values():
            listener.catch_up()
        if self.listener:
            self.listener.catch_up()

    def end_subscriptions(self, body: Callable[[Id], object]) -> None:
        """Close every subscription gracefully, with the final result `body` makes of its id."""
        for request_id, listener in tuple(self._listeners.items()):
            del self._listeners[request_id], self._open[request_id]
            self._router.unlisten(listener)
            self.outlet.send(jsonrpc.result(request_id, body(request_id)))

    def close(self) -> None:
        """Cancel everything: the connection is gone."""
        if self.listener:
            self._router.unlisten(self.listener)
            self.listener = None
        for request_id in tuple(self._open):
            self.cancel(request_id)

    def _check_room(self, request: Request) -> None:
        if self._tally.lacking(request.size_bytes):
            self._forget_answered()
            if lacking := self._tally.lacking(request.size_bytes):
                raise Overloaded(f"{lacking} of this peer are in flight", _RETRY_AFTER_S)

    def _encoded(self, call: InFlight, outcome: object) -> bytes:
        request_id = call.request.id
        try:
            if not isinstance(outcome, BaseException):
                return jsonrpc.result(request_id, call.shape.body(outcome))
            if isinstance(outcome, EdgedError):
                if isinstance(outcome, NotAllowed):
                    what = call.request.subject or call.request.method
                    self._router.refused(self.principal, what, outcome.message)
                return jsonrpc.result(request_id, call.shape.excuse(outcome))
            if isinstance(outcome, InputRequired):
                return jsonrpc.result(request_id, self._router.ask_in_result(call, outcome))
            return jsonrpc.error(self._failure_of(outcome), request_id)
        except Exception as exc:  # noqa: BLE001 - the request boundary: a result may be one that cannot be encoded
            return jsonrpc.error(self._failure_of(exc), request_id)

    def _emit(self, text: bytes, batch: Batch | None) -> None:
        if batch is None:
            self.outlet.send(text)
        else:
            batch.answers.append(text)

    def _release(self, batch: Batch) -> None:
        batch.waiting -= 1
        if batch.waiting == 0 and batch.answers:
            self.outlet.send(b"[" + b",".join(batch.answers) + b"]")


def _takes_time(outcome: object) -> TypeGuard[Awaitable[object]]:
    """Whether it is to be awaited; asking the abstract class takes four times as long."""
    return hasattr(outcome, "__await__")
