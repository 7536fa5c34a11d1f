"""HTTP before MCP: which requests are let in at all, judged by their head.

Pure. Source: MCP 2026-07-28 basic/transports/streamable-http.mdx ("Security & Endpoint", "Sending Messages");
RFC 9110 for what the statuses and `Accept` mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

PATH: Final = "/mcp"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_METHODS: Final = ("POST", "GET", "DELETE")
_ORIGIN: Final = re.compile(r"https?://(?P<host>[^/?#@]+)")
_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
_NEVER: Final = re.compile(r";\s*q=0(\.0{0,3})?\s*(;|$)")


class Headers:
    """Header fields as they came, with names in lower case."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self._fields if key == name), None)

    def all(self, name: str) -> list[str]:
        """Every field of that name."""
        return [value for key, value in self._fields if key == name]

    def starting(self, prefix: str) -> bool:
        """Whether there is a field whose name starts so."""
        return any(key.startswith(prefix) for key, _ in self._fields)


class Head(NamedTuple):
    """A request without its body."""

    method: str
    target: str
    headers: Headers


class Refusal(NamedTuple):
    """An answer of HTTP's own."""

    status: int
    reason: str
    allow: tuple[str, ...] = ()


def refuse(head: Head, hosts: Sequence[str], body_max_bytes: int) -> Refusal | None:
    """Why a request goes no further, or None; `hosts` are the names welcome beside localhost's."""
    if refusal := _foreign(head.headers, LOCAL.union(hosts)):
        return refusal
    if head.target.partition("?")[0] != PATH:
        return Refusal(404, f"nothing is here; MCP is at {PATH}")
    if head.method not in _METHODS:
        return Refusal(405, f"method {head.method[:16]} is not offered", _METHODS)
    if (length := _length(head.headers)) > body_max_bytes:
        return Refusal(413, f"a message of more than {body_max_bytes} bytes")
    return _unacceptable(head, length)


def _foreign(headers: Headers, welcome: frozenset[str]) -> Refusal | None:
    """Refuse what a web page could have sent after rebinding a name of its own to this device."""
    hosts = headers.all("host")
    if len(hosts) != 1 or _name(hosts[0]) not in welcome:
        return Refusal(403, "Host: not a name of this device")
    for origin in headers.all("origin"):
        found = _ORIGIN.fullmatch(origin)
        if found is None or _name(found["host"]) not in welcome:
            return Refusal(403, "Origin: not welcome here")
    return None


def _name(authority: str) -> str | None:
    found = _AUTHORITY.fullmatch(authority)
    return found["name"].lower() if found else None


def _length(headers: Headers) -> int:
    """Declared length; one that is no number, or two that differ, the HTTP parser has refused."""
    declared = headers.get("content-length")
    return int(declared) if declared and declared.isdecimal() else 0


def _unacceptable(head: Head, length: int) -> Refusal | None:
    if head.method == "POST":
        kind = (head.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if kind != JSON:
            return Refusal(415, f"Content-Type: expected {JSON}")
        wanted: tuple[str, ...] = (JSON, EVENTS)
    elif length:
        return Refusal(400, f"{head.method} takes no body")
    else:
        wanted = (EVENTS,) if head.method == "GET" else ()
    missing = [kind for kind in wanted if not accepts(head.headers, kind)]
    return Refusal(406, f"Accept: expected {' and '.join(missing)}") if missing else None


def accepts(headers: Headers, kind: str) -> bool:
    """Whether a media type would be taken; a request that names none takes all (RFC 9110, 12.5.1)."""
    ranges = [part.strip().lower() for field in headers.all("accept") for part in field.split(",")]
    family = kind.partition("/")[0] + "/*"
    for wanted in (kind, family, "*/*"):
        for offered in ranges:
            if offered.partition(";")[0].rstrip() == wanted:
                return not _NEVER.search(offered)
    return not ranges
