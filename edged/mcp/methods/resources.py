"""Reading resources, and being told when they change.

Pure. Source: 2026-07-28 server/resources.mdx, basic/patterns/subscriptions.mdx; 2025-11-25 server/resources.mdx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from edged.errors import EdgedError, NotFound
from edged.mcp import jsonrpc, modern, questions, subscriptions
from edged.mcp.catalog import Body, Resource, Template, Tier
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.request import Request
from edged.mcp.results import Empty, read_result
from edged.mcp.revision import Revision
from edged.mcp.rounds import RoundParams
from edged.mcp.shapes import failure_of
from edged.mcp.subscriptions import SubscriptionFilter

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server

_NOT_FOUND_BEFORE_2026: Final = -32002


class _ReadParams(RoundParams, frozen=True, gc=False):
    uri: str


class _UriParams(msgspec.Struct, frozen=True, gc=False):
    uri: str


class _ListenParams(msgspec.Struct, frozen=True):
    notifications: SubscriptionFilter


_read_params = msgspec.json.Decoder(_ReadParams)
_uri_params = msgspec.json.Decoder(_UriParams)
_listen_params = msgspec.json.Decoder(_ListenParams)


class _ReadShape:
    """Outcomes of reading one resource."""

    def __init__(self, request: Request, uri: str, offer: Resource | Template, stamp: Raw) -> None:
        self._request = request
        self._uri = uri
        self._offer = offer
        self._stamp = stamp

    def body(self, outcome: Body) -> object:
        """What it holds."""
        revision = self._request.revision
        answered = self._request.answers is not None
        return read_result(outcome, self._uri, self._offer, revision, self._stamp, answered=answered)

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        if isinstance(exc, NotFound):
            raise not_found(self._uri, self._request.revision, exc.message)
        raise failure_of(exc)


def read(server: Server, conversation: Conversation, request: Request) -> None:
    """What the resource of this URI holds."""
    params = request.read(_read_params)
    handler, offer = _reader(server, conversation, request, params.uri)
    request.subject = params.uri
    server.rounds.resume(request, conversation.principal, None, params)
    shape = _ReadShape(request, params.uri, offer, server.listings.stamp)
    conversation.start(request, shape, handler, None)


def subscribe(server: Server, conversation: Conversation, request: Request) -> None:
    """Tell this handshake peer whenever the resource changes."""
    uri = request.read(_uri_params).uri
    _reader(server, conversation, request, uri)
    listener, topic = server.listen(conversation), subscriptions.resource(uri)
    watched = sum(subscriptions.is_resource(other) for other in listener.topics if other != topic)
    if watched >= server.limits.watched_max:
        raise Failure(jsonrpc.BUSY, f"more than {server.limits.watched_max} resources watched")
    server.subscriptions.add(listener, [topic])
    conversation.answer(request, Empty())


def unsubscribe(server: Server, conversation: Conversation, request: Request) -> None:
    """Tell it no more."""
    uri = request.read(_uri_params).uri
    if listener := conversation.listener:
        server.subscriptions.drop(listener, [subscriptions.resource(uri)])
    conversation.answer(request, Empty())


def listen(server: Server, conversation: Conversation, request: Request) -> None:
    """Open a subscription to what changes, as far as this peer may see it."""
    asked = request.read(_listen_params).notifications
    if asked.task_ids and not modern.knows_tasks(request.meta):
        raise questions.missing_tasks(request.revision)
    if len(asked.resource_subscriptions) + len(asked.task_ids) > server.limits.watched_max:
        raise Failure(jsonrpc.BUSY, f"more than {server.limits.watched_max} resources and tasks watched")
    principal = conversation.principal
    granted = msgspec.structs.replace(
        asked,
        resource_subscriptions=tuple(
            uri for uri in dict.fromkeys(asked.resource_subscriptions) if server.readable(uri, principal.tier)
        ),
        task_ids=tuple(
            task_id
            for task_id in dict.fromkeys(asked.task_ids)
            if server.tasks and server.tasks.owns(principal, task_id)
        ),
    )
    listener = conversation.subscribe(request, granted)
    server.subscriptions.add(listener, granted.topics())


def not_found(uri: str, revision: Revision, message: str = "no such resource") -> Failure:
    """The error for a URI that names nothing this peer may read."""
    code = jsonrpc.INVALID_PARAMS if revision.stateless else _NOT_FOUND_BEFORE_2026
    return Failure(code, message, {"uri": uri[:1024]})


def _reader(
    server: Server, conversation: Conversation, request: Request, uri: str
) -> tuple[Callable[[Any, None], object], Resource | Template]:
    found = server.readable(uri, conversation.principal.tier)
    if found is None:
        if hidden := server.readable(uri, Tier.OPERATOR):
            server.refused(conversation.principal, uri, f"needs {hidden[0].tier.name.lower()}")
        raise not_found(uri, request.revision)
    offer, values = found
    if server.witness and offer.tier is Tier.OPERATOR:
        server.witness.read(conversation.principal, uri)
    if isinstance(offer, Resource):
        return (lambda call, _: offer.read(call)), offer
    return partial(_expand, offer, values), offer


def _expand(offer: Template, values: Mapping[str, str], call: Any, _: None) -> object:
    return offer.read(call, values)
