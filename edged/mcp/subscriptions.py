"""Who is told when something changes.

Pure. A notification is encoded once; a listener adds the end that names its subscription. To a listener whose
peer does not keep up only the newest notification of each topic is kept, and sent when the peer has caught up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

import msgspec

from edged.mcp.catalog import Tier
from edged.mcp.jsonrpc import Id
from edged.mcp.modern import SUBSCRIPTION_KEY

Topic: TypeAlias = tuple[str, str]
TOOLS: Final[Topic] = ("tools", "")
PROMPTS: Final[Topic] = ("prompts", "")
RESOURCES: Final[Topic] = ("resources", "")
LISTS: Final = (TOOLS, PROMPTS, RESOURCES)

_encode = msgspec.json.Encoder().encode


def list_of(kind: str) -> Topic:
    """The topic of a kind's list."""
    return (kind, "")


def resource(uri: str) -> Topic:
    """The topic of what one resource holds."""
    return ("resource", uri)


def is_resource(topic: Topic) -> bool:
    """Whether the topic is what a resource holds."""
    return topic[0] == "resource"


def task(task_id: str) -> Topic:
    """The topic of one task."""
    return ("task", task_id)


class SubscriptionFilter(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which notifications a subscription asks for, and which it was granted."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()

    def topics(self) -> list[Topic]:
        """What a subscription with this filter listens to."""
        asked = (self.tools_list_changed, self.prompts_list_changed, self.resources_list_changed)
        lists = [topic for topic, wanted in zip(LISTS, asked, strict=True) if wanted]
        return [*lists, *map(resource, self.resource_subscriptions), *map(task, self.task_ids)]


class Sender(Protocol):
    """Where a listener's notifications go."""

    @property
    def congested(self) -> bool:
        """Whether what was sent before still waits to be read."""

    def send_about(self, request_id: Id | None, message: bytes) -> None:
        """Send what belongs to this request, or to none."""


class Listener:
    """One subscription: a `subscriptions/listen` request, or with no id a handshake peer's own."""

    __slots__ = ("_end", "_late", "_sender", "request_id", "tier", "topics")

    def __init__(self, sender: Sender, tier: Tier, request_id: Id | None) -> None:
        self.request_id = request_id
        self.tier = tier
        self.topics: dict[Topic, None] = {}
        self._sender = sender
        self._end = b"}}" if request_id is None else _encode({SUBSCRIPTION_KEY: request_id}) + b"}}"
        self._late: dict[Topic, tuple[bytes, bool]] = {}

    def hear(self, topic: Topic, start: bytes, *, bare: bool) -> None:
        """Take a notification that starts like this; `bare` where its params have no members yet."""
        if self._sender.congested:
            self._late[topic] = (start, bare)
        else:
            self._send(start, bare=bare)

    def catch_up(self) -> None:
        """Send what was held back: the peer reads again."""
        late, self._late = self._late, {}
        for topic, (start, bare) in late.items():
            self.hear(topic, start, bare=bare)

    def _send(self, start: bytes, *, bare: bool) -> None:
        if self.request_id is None:
            message = start + self._end
        else:
            message = start + (b'"_meta":' if bare else b',"_meta":') + self._end
        self._sender.send_about(self.request_id, message)


class Subscriptions:
    """Every listener of a server, by topic.

    `watched(uri, by_anybody)` is called when a resource gets its first listener, and when it loses its last.
    """

    def __init__(self, watched: Callable[[str, bool], None] = lambda _uri, _by_anybody: None) -> None:
        self._watched = watched
        self._listeners: dict[Topic, dict[Listener, None]] = {}

    def __contains__(self, topic: Topic) -> bool:
        return topic in self._listeners

    def add(self, listener: Listener, topics: Iterable[Topic]) -> None:
        """Have a listener hear of these from now on."""
        for topic in topics:
            listener.topics[topic] = None
            if topic not in self._listeners:
                self._listeners[topic] = {}
                self._tell(topic, by_anybody=True)
            self._listeners[topic][listener] = None

    def drop(self, listener: Listener, topics: Iterable[Topic]) -> None:
        """Have it hear of these no more."""
        for topic in tuple(topics):
            listener.topics.pop(topic, None)
            others = self._listeners.get(topic)
            if others is None:
                continue
            others.pop(listener, None)
            if not others:
                del self._listeners[topic]
                self._tell(topic, by_anybody=False)

    def close(self, listener: Listener) -> None:
        """Have it hear nothing any more."""
        self.drop(listener, listener.topics)

    def publish(self, topic: Topic, tier: Tier, method: str, params: object) -> None:
        """Tell who listens and is of this tier or above; `params` is anything that encodes as an object."""
        listeners = self._listeners.get(topic)
        if not listeners:
            return
        members = _encode(params)[:-1]
        start = b'{"jsonrpc":"2.0","method":' + _encode(method) + b',"params":' + members
        for listener in tuple(listeners):
            if listener.tier >= tier:
                listener.hear(topic, start, bare=len(members) == 1)

    def _tell(self, topic: Topic, *, by_anybody: bool) -> None:
        kind, uri = topic
        if kind == "resource":
            self._watched(uri, by_anybody)
