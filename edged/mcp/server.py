"""The dispatcher: which era a request is of, and what all peers share.

No asyncio. The methods themselves and the table of each era are in `methods`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from edged.mcp import jsonrpc, legacy, modern, subscriptions
from edged.mcp.asking import InputRequired
from edged.mcp.catalog import Catalog, Job, Kind, Method, Principal, Resource, Template, Tier
from edged.mcp.config import McpConfig
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure, Id, Message
from edged.mcp.listing import Listings
from edged.mcp.methods.general import call_own
from edged.mcp.methods.table import BEFORE_HANDSHAKE, LEGACY, MODERN, TAKE_BLOBS
from edged.mcp.request import InFlight, Outlet, Request
from edged.mcp.results import Empty, Info
from edged.mcp.revision import Revision
from edged.mcp.rounds import Rounds
from edged.mcp.schema import Reader
from edged.mcp.seal import Seal
from edged.mcp.shapes import MethodShape, TaskShape, ToolShape
from edged.mcp.splice import Unspent
from edged.mcp.subscriptions import Listener, Subscriptions
from edged.mcp.tasks import JobWork, Task, TaskStore, performance
from edged.mcp.witness import Witness

_log = logging.getLogger(__name__)

__all__ = ["Info", "Method", "Server"]


class _CancelledParams(msgspec.Struct, frozen=True, rename="camel", gc=False):
    request_id: Id


_cancelled_params = msgspec.json.Decoder(_CancelledParams)


class Server:
    """Everything peers share: the catalog, its encodings, who is connected, and who listens.

    `seal` keeps what clients carry between rounds of a request; `tasks` keeps jobs that outlive theirs, and
    without it the tasks extension is not spoken; `witness` is told what operators do and who is refused.
    """

    def __init__(
        self,
        catalog: Catalog,
        info: Info,
        limits: McpConfig | None = None,
        methods: Mapping[str, Method] | None = None,
        *,
        seal: Seal | None = None,
        tasks: TaskStore | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.catalog = catalog
        self.limits = limits or McpConfig()
        self.methods = dict(methods or {})
        self.tasks = tasks
        self.witness = witness
        self.listings = Listings(catalog, info, self.limits, self.methods, tasks=tasks is not None)
        self.subscriptions = Subscriptions(catalog.watched)
        stamp = self.listings.stamp
        self.rounds = Rounds(seal or Seal(), stamp)
        revisions = (*legacy.REVISIONS.values(), modern.REVISION)
        self.tool_shapes = {r.version: ToolShape(r, stamp) for r in revisions}
        self.method_shapes = {r.version: MethodShape(r, stamp) for r in revisions}
        self.task_shape = TaskShape(stamp)
        self.done = Empty(result_type="complete", meta=stamp)
        self._conversations: set[Conversation] = set()
        self._readers: dict[type[msgspec.Struct], Reader[Any]] = {}
        catalog.on_change(self._changed)
        catalog.on_update(self._updated)
        if tasks:
            tasks.on_change(self._task_changed)

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

    def readable(self, uri: str, tier: Tier) -> tuple[Resource | Template, Mapping[str, str]] | None:
        """What a peer of this tier finds under a URI: a resource, or a template and its variables' values."""
        resource = self.catalog.resources.get(uri)
        if resource is not None:
            return (resource, {}) if resource.tier <= tier else None
        for template in self.catalog.templates.visible(tier):
            if (values := template.uri.match(uri)) is not None:
                return template, values
        return None

    def route(self, conversation: Conversation, request: Request) -> None:
        """Run a request by the table of its era."""
        if request.meta.version is UNSET:
            table, request.revision = LEGACY, _agreed(conversation, request)
        else:
            modern.check(request.meta)
            table, request.revision = MODERN, modern.REVISION
            if request.batch:
                version = modern.REVISION.version
                raise Failure(jsonrpc.INVALID_REQUEST, f"protocol version {version} has no batches")
        run = table.get(request.method, call_own)
        if request.splices and run not in TAKE_BLOBS:
            raise Unspent
        run(self, conversation, request)

    def notified(self, conversation: Conversation, message: Message) -> None:
        """Act on the notifications that matter; the others want nothing of us."""
        if message.method == "notifications/cancelled":
            try:
                params = _cancelled_params.decode(message.params)
            except msgspec.ValidationError:
                _log.debug("cancellation without a request id principal=%s", conversation.principal.name)
            else:
                conversation.cancel(params.request_id)
        elif message.method == "notifications/initialized" and conversation.revision:
            self.subscriptions.add(self.listen(conversation), subscriptions.LISTS)

    def listen(self, conversation: Conversation) -> Listener:
        """The listener a handshake peer has of its own."""
        if conversation.listener is None:
            conversation.listener = Listener(conversation.outlet, conversation.principal.tier, None)
        return conversation.listener

    def unlisten(self, listener: Listener) -> None:
        """See `Router`."""
        self.subscriptions.close(listener)

    def ask_in_result(self, call: InFlight, required: InputRequired) -> object:
        """See `Router`."""
        return self.rounds.ask(call, required)

    def defer(self, call: InFlight, job: Job) -> Awaitable[object]:
        """See `Router`."""
        if self.tasks is None or not modern.knows_tasks(call.request.meta):
            return job.run(call)
        work = JobWork(call.principal, call.trace, call.capabilities)
        return self.tasks.begin(call.principal, job, performance(job, work, call.shape))

    def refused(self, principal: Principal, what: str, why: str) -> None:
        """See `Router`."""
        if self.witness:
            self.witness.refused(principal, what, why)

    def _changed(self, kind: Kind, tier: Tier) -> None:
        self.listings.forget(kind)
        method = f"notifications/{kind}/list_changed"
        self.subscriptions.publish(subscriptions.list_of(kind), tier, method, {})

    def _updated(self, uri: str) -> None:
        topic = subscriptions.resource(uri)
        if topic in self.subscriptions:
            found = self.readable(uri, Tier.OPERATOR)
            tier = found[0].tier if found else Tier.READ
            self.subscriptions.publish(topic, tier, "notifications/resources/updated", {"uri": uri})

    def _task_changed(self, task: Task) -> None:
        topic = subscriptions.task(task.task_id)
        self.subscriptions.publish(topic, Tier.READ, "notifications/tasks", task)

    def _ended(self, request_id: Id) -> object:
        known: dict[str, object] = msgspec.json.decode(self.listings.stamp)
        return {"resultType": "complete", "_meta": {**known, modern.SUBSCRIPTION_KEY: request_id}}


def _agreed(conversation: Conversation, request: Request) -> Revision:
    """The revision the handshake agreed; before it only what may come before it is answered."""
    if conversation.revision is None and request.method not in BEFORE_HANDSHAKE:
        raise Failure(jsonrpc.INVALID_PARAMS, f"$._meta: {modern.VERSION_KEY} is required, and missing")
    return conversation.revision or legacy.LATEST
