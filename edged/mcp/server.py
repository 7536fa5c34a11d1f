"""The dispatcher: which era a request is of, and what all peers share.

No asyncio. The methods themselves and the table of each era are in `methods`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from edged.errors import DeviceError, EdgedError, Refused
from edged.mcp import jsonrpc, legacy, modern
from edged.mcp.catalog import Catalog, Kind, Method, Principal, Tier, ToolResult
from edged.mcp.config import McpConfig
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure, Id, Message
from edged.mcp.listing import Listings
from edged.mcp.methods import BEFORE_HANDSHAKE, LEGACY, MODERN, TAKE_BLOBS, call_own
from edged.mcp.request import Outlet, Request
from edged.mcp.results import Info, call_result
from edged.mcp.revision import Revision
from edged.mcp.schema import Reader
from edged.mcp.splice import Unspent

_log = logging.getLogger(__name__)


__all__ = ["Info", "Method", "Server"]


class _CancelledParams(msgspec.Struct, frozen=True, rename="camel", gc=False):
    request_id: Id


_cancelled_params = msgspec.json.Decoder(_CancelledParams)


class ToolShape:
    """Outcomes of tools: what they raise on purpose is a result too, so that a model can act on it."""

    def __init__(self, revision: Revision, stamp: Raw) -> None:
        self._revision = revision
        self._stamp = stamp

    def body(self, outcome: Any) -> object:
        """The result as this revision shows it."""
        return call_result(outcome, self._revision, self._stamp)

    def excuse(self, exc: EdgedError) -> object:
        """An `isError` result."""
        failed = ToolResult(structured=exc.details(), text=exc.message, is_error=True)
        return call_result(failed, self._revision, self._stamp)


class MethodShape:
    """Outcomes of our own methods: a Struct is the result, what they raise on purpose an error."""

    def __init__(self, revision: Revision, stamp: Raw) -> None:
        self._stamp = {"resultType": "complete", "_meta": stamp} if revision.stateless else {}

    def body(self, outcome: Any) -> object:
        """The Struct's members, stamped where the revision wants it."""
        return {**msgspec.to_builtins(outcome), **self._stamp}

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        code = jsonrpc.INVALID_PARAMS
        if isinstance(exc, (Refused, DeviceError)):
            code = jsonrpc.BUSY if isinstance(exc, Refused) else jsonrpc.INTERNAL_ERROR
        raise Failure(code, exc.message, exc.details())


class Server:
    """Everything peers share: the catalog, its encodings, and who is connected."""

    def __init__(
        self,
        catalog: Catalog,
        info: Info,
        limits: McpConfig | None = None,
        methods: Mapping[str, Method] | None = None,
    ) -> None:
        self.catalog = catalog
        self.limits = limits or McpConfig()
        self.methods = dict(methods or {})
        self.listings = Listings(catalog, info, self.limits, self.methods)
        revisions = (*legacy.REVISIONS.values(), modern.REVISION)
        self.tool_shapes = {r.version: ToolShape(r, self.listings.stamp) for r in revisions}
        self.method_shapes = {r.version: MethodShape(r, self.listings.stamp) for r in revisions}
        self._conversations: set[Conversation] = set()
        self._readers: dict[type[msgspec.Struct], Reader[Any]] = {}
        catalog.on_change(self._changed)

    def connect(self, outlet: Outlet, principal: Principal) -> Conversation:
        """Begin with a new peer."""
        conversation = Conversation(outlet, principal, self.limits, self)
        self._conversations.add(conversation)
        return conversation

    def disconnect(self, conversation: Conversation) -> None:
        """Forget a peer that is gone and cancel what it had in flight."""
        self._conversations.discard(conversation)
        conversation.close()

    def end_subscriptions(self, conversation: Conversation) -> None:
        """End a peer's subscriptions gracefully."""
        conversation.end_subscriptions(self._ended)

    def reader(self, kind: type[msgspec.Struct]) -> Reader[Any]:
        """The one reader of this kind of arguments."""
        if (reader := self._readers.get(kind)) is None:
            reader = self._readers[kind] = Reader(kind)
        return reader

    def route(self, conversation: Conversation, request: Request) -> None:
        """Run a request by the table of its era."""
        if request.meta.version is UNSET:
            table, revision = LEGACY, _agreed(conversation, request)
        else:
            modern.check(request.meta)
            table, revision = MODERN, modern.REVISION
            if request.batch:
                raise Failure(jsonrpc.INVALID_REQUEST, f"protocol version {revision.version} has no batches")
        run = table.get(request.method, call_own)
        if request.splices and run not in TAKE_BLOBS:
            raise Unspent
        run(self, conversation, request, revision)

    def notified(self, conversation: Conversation, message: Message) -> None:
        """Act on the notifications that matter; the others want nothing of us."""
        if message.method == "notifications/cancelled":
            try:
                params = _cancelled_params.decode(message.params)
            except msgspec.ValidationError:
                _log.debug("cancellation without a request id principal=%s", conversation.principal.name)
            else:
                conversation.cancel(params.request_id)
        elif message.method == "notifications/initialized":
            conversation.initialized = conversation.revision is not None

    def _changed(self, _kind: Kind, tier: Tier) -> None:
        self.listings.forget()
        for conversation in tuple(self._conversations):
            if conversation.principal.tier >= tier:
                conversation.tools_changed()

    def _ended(self, request_id: Id) -> object:
        known: dict[str, object] = msgspec.json.decode(self.listings.stamp)
        return {"resultType": "complete", "_meta": {**known, modern.SUBSCRIPTION_KEY: request_id}}


def _agreed(conversation: Conversation, request: Request) -> Revision:
    """The revision the handshake agreed; before it only what may come before it is answered."""
    if conversation.revision is None and request.method not in BEFORE_HANDSHAKE:
        raise Failure(jsonrpc.INVALID_PARAMS, f"$._meta: {modern.VERSION_KEY} is required, and missing")
    return conversation.revision or legacy.LATEST
