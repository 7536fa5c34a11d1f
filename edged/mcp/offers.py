"""The kinds of things a device offers, and what their handlers see.

Pure. A handler gets a `Call`, and gives a value or something to await for one. It raises an `EdgedError` for
what went wrong on purpose; `NotFound` from a resource means that there is none of that URI.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, overload

import msgspec

from edged.mcp.asking import Form, Question, Reply, Roots, Sample, Visit
from edged.mcp.content import Embedded, PromptMessage, Relevance, ToolResult
from edged.mcp.schema import object_schema
from edged.mcp.template import UriTemplate

# MCP 2026-07-28 server/tools.mdx, "Tool Names".
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")

LogLevel: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class Tier(enum.IntEnum):
    """How much a principal may do; a higher tier includes the lower ones."""

    READ = 1
    ACT = 2
    OPERATOR = 3


class Principal(NamedTuple):
    """Who is on the other side: `uid:1000` on the Unix socket, `mqtt:agent-7` on a broker."""

    name: str
    groups: tuple[str, ...]
    tier: Tier


class Peer(Protocol):
    """The connection a call came in on; hashable by identity."""

    def __hash__(self) -> int: ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, when the connection is gone."""

    def take_descriptor(self) -> int | None:
        """The oldest file descriptor received here and not yet taken; the caller closes it."""


class Work(Protocol):
    """What any running handler sees, a job's too. To be used on the event loop's thread only."""

    @property
    def principal(self) -> Principal:
        """Who asks."""

    @property
    def trace(self) -> str | None:
        """The W3C `traceparent` the client sent."""

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the client how far the work is, if it asked; a value that does not increase is not sent."""

    def log(self, level: LogLevel, data: object, logger: str | None = None) -> None:
        """Tell the client something, if it asked for messages of that level. `data` is any JSON, never a secret."""

    def can(self, kind: type[Question]) -> bool:
        """Whether the client takes questions of that kind."""

    @overload
    def ask(self, key: str, question: Form | Visit) -> Reply: ...
    @overload
    def ask(self, key: str, question: Sample | Roots) -> dict[str, Any]: ...
    def ask(self, key: str, question: Question) -> Reply | dict[str, Any]:
        """The client's answer, by a key that is unique in this handler; see `asking` for what that means.

        Where there is no answer yet raises InputRequired, which the handler lets through; where the client
        does not take such questions the request fails and says so.
        """

    def ask_all(self, questions: Mapping[str, Question]) -> dict[str, Any]:
        """Likewise for several at once: they reach the client together."""


class Call(Work, Protocol):
    """One request, as its handler sees it."""

    @property
    def peer(self) -> Peer:
        """The connection it came in on; hashable, one object for the connection's life."""

    @property
    def patience_s(self) -> float | None:
        """How long the client waits for the answer, where its message said so."""

    def answer(self, result: ToolResult) -> Callable[[], None]:
        """Encode a tool's answer; calling what this gives sends it. The one method here for any thread.

        What the handler returned is then awaited for its end only.
        """


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """Hints to a host about what calling a tool does."""

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


class Icon(msgspec.Struct, frozen=True, kw_only=True):
    """A picture for a menu: an https or data URI."""

    src: str
    mime: str = ""
    sizes: tuple[str, ...] = ()
    theme: Literal["light", "dark"] | None = None


class Job(msgspec.Struct, frozen=True, eq=False):
    """Work that outlives its request: a task for a client that knows tasks, else simply awaited.

    `run` may be called again from its start once questions are answered (see `asking`); it is not run again
    after a restart of the daemon.
    """

    run: Callable[[Work], Awaitable[ToolResult]]
    message: str = ""
    """What is going on, for a person."""
    ttl_ms: int = 3_600_000
    """How long after creation the outcome is kept."""
    poll_ms: int = 1_000
    """How often to ask, at most."""


ToolHandler: TypeAlias = Callable[[Call, Any], "ToolResult | Job | Awaitable[ToolResult | Job]"]
Body: TypeAlias = "str | bytes | Sequence[Embedded]"
"""What a resource holds: text, bytes, or several parts with URIs of their own."""
Messages: TypeAlias = "str | Sequence[PromptMessage]"
"""What a prompt says; a str is one message of the user's."""
Completer: TypeAlias = Callable[[Call, str, Mapping[str, str]], "Sequence[str] | Awaitable[Sequence[str]]"]
"""(call, what was typed, the other arguments so far) to every suggestion, best first; the first 100 are sent."""


class Tool(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True, weakref=True):
    """One tool; its schemas are made from the Structs, once."""

    name: str
    title: str
    description: str
    arguments: type[msgspec.Struct]
    handler: ToolHandler
    tier: Tier
    result: type[msgspec.Struct] | None = None
    annotations: Annotations = msgspec.field(default_factory=Annotations)
    schema: dict[str, Any] | None = None
    """Listed as `inputSchema` in place of what `arguments` makes."""
    frees: bool = False
    """Whether it makes room on the disk: it may then run even where the disk has no room to record that it does."""
    needs_tasks: bool = False
    """Refuse callers that did not declare the tasks extension."""
    icons: tuple[Icon, ...] = ()
    meta: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"tool name {self.name!r}: expected 1 to 128 of A-Z a-z 0-9 _ . -")

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.name

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the arguments; its root is a plain object."""
        return self.schema or object_schema(self.arguments)

    @cached_property
    def output_schema(self) -> dict[str, Any] | None:
        """Likewise of the structured result, where it is declared."""
        return object_schema(self.result) if self.result else None


class Resource(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Something to read, by its URI."""

    uri: str
    name: str
    read: Callable[[Call], Body | Awaitable[Body]]
    tier: Tier
    title: str = ""
    description: str = ""
    mime: str = ""
    size_bytes: int | None = None
    relevance: Relevance | None = None
    icons: tuple[Icon, ...] = ()
    meta: dict[str, Any] | None = None
    ttl_ms: int = 0
    """Milliseconds a client may reuse what it read. Default: ask again each time."""
    public: bool = False
    """Whether what it holds is the same for everybody who may read anything here."""

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.uri


class Template(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """A family of resources; `read` gets the variables' values, percent-decoded, and judges them."""

    uri_template: str
    name: str
    read: Callable[[Call, Mapping[str, str]], Body | Awaitable[Body]]
    tier: Tier
    completers: Mapping[str, Completer] = msgspec.field(default_factory=dict)
    """By variable."""
    title: str = ""
    description: str = ""
    mime: str = ""
    relevance: Relevance | None = None
    icons: tuple[Icon, ...] = ()
    meta: dict[str, Any] | None = None
    ttl_ms: int = 0
    public: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.completers) - set(self.uri.names):
            raise ValueError(f"{self.uri_template!r} has no variable {', '.join(sorted(unknown))}")

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.uri_template

    @cached_property
    def uri(self) -> UriTemplate:
        """The template, ready to match."""
        return UriTemplate(self.uri_template)


class Argument(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One argument of a prompt; always a string."""

    name: str
    title: str = ""
    description: str = ""
    required: bool = False
    completer: Completer | None = None


class Prompt(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The opening of a conversation, chosen by a person; `get` gets the arguments given, all of them known."""

    name: str
    get: Callable[[Call, Mapping[str, str]], Messages | Awaitable[Messages]]
    tier: Tier
    title: str = ""
    description: str = ""
    arguments: tuple[Argument, ...] = ()
    icons: tuple[Icon, ...] = ()
    meta: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.name


class Method(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A request of our own beside MCP's, named like `edged/mapping/register`; its result is a Struct."""

    params: type[msgspec.Struct]
    handler: Callable[[Call, Any], msgspec.Struct | Awaitable[msgspec.Struct]]
    tier: Tier


def among(choices: Callable[[], Iterable[str]]) -> Completer:
    """A completer over `choices()`: those that start with what was typed, then those that contain it, by name."""

    def complete(_call: Call, typed: str, _others: Mapping[str, str]) -> list[str]:
        wanted = typed.casefold()
        found = [choice for choice in sorted(choices()) if wanted in choice.casefold()]
        return sorted(found, key=lambda choice: not choice.casefold().startswith(wanted))

    return complete
