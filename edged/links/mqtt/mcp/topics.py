"""The topics of MCP over MQTT: what each is called, and whose message one brings.

Pure. Source: the public MCP-over-MQTT specification, "Topics", as of 2025-08-05. Who may use a topic is the broker's
to enforce; the client id in it is therefore the only one to trust.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

RESERVED: Final = frozenset({"presence", "capability"})
"""Levels where the specification also has a server id, so that no server may be called this."""
ID_MAX: Final = 128
"""Characters of an id; MQTT allows 65,535 bytes."""


class Kind(enum.Enum):
    """What a topic is for, as a server sees it."""

    CONTROL = enum.auto()
    """Clients open a handshake; who sends is not in the topic."""
    RPC = enum.auto()
    """Everything else between one client and this server, both ways."""
    CLIENT_PRESENCE = enum.auto()
    """A client says, or its will does, that it is gone."""
    PRESENCE = enum.auto()
    """Who serves under this server's id."""


class Place(NamedTuple):
    """Where a message came in; `client` is empty where the topic names none."""

    kind: Kind
    client: str = ""


def check_id(text: str) -> str | None:
    """What is wrong with an id of a client or server, in words."""
    if not text:
        return "empty"
    if len(text) > ID_MAX:
        return f"longer than {ID_MAX} characters"
    if not text.isprintable():
        return "characters that cannot be printed"
    if not _WILD.isdisjoint(text):
        return "one of / + #"
    return None


class Topics:
    """The topics of one server.

    `prefix` stands where the specification has `$`, which some brokers keep for themselves. Raises ValueError for
    an id or name that no topic can hold or that is mistaken for another.
    """

    def __init__(self, server_id: str, server_name: str, prefix: str = "$") -> None:
        if problem := check_id(server_id):
            raise ValueError(f"server id: {problem}")
        if server_id in RESERVED:
            raise ValueError(f"server id: {server_id!r} is a level of the topics themselves")
        if problem := next(filter(None, map(check_id, server_name.split("/"))), None):
            raise ValueError(f"server name: a level with {problem}")
        if set(prefix) & {"+", "#", "\0"}:
            raise ValueError("prefix: one of + #")
        self.server_id = server_id
        self.server_name = server_name
        server = f"{server_id}/{server_name}"
        self.control = f"{prefix}mcp-server/{server}"
        self.presence = f"{prefix}mcp-server/presence/{server}"
        self.capability = f"{prefix}mcp-server/capability/{server}"
        self._prefix = prefix
        self._rpc = f"{prefix}mcp-rpc/"
        self._of_server = f"/{server}"
        self._client_presence = f"{prefix}mcp-client/presence/"
        self.every_rpc = self.rpc("+")
        """Filter: every client's."""
        self.every_client_presence = f"{self._client_presence}+"
        """Filter: every client's."""

    def rpc(self, client: str) -> str:
        """Where a client and this server talk."""
        return f"{self._rpc}{client}{self._of_server}"

    def foreign(self, server_id: str, client: str) -> tuple[str, str]:
        """The RPC topic and the presence of another server: where this one should not be able to publish."""
        other = f"{server_id}/{self.server_name}"
        return f"{self._rpc}{client}/{other}", f"{self._prefix}mcp-server/presence/{other}"

    def place(self, topic: str) -> Place | None:
        """What a topic that matched one of the filters is for; None where its client's id is no id."""
        if topic.startswith(self._rpc) and topic.endswith(self._of_server):
            return _of_client(Kind.RPC, topic[len(self._rpc) : -len(self._of_server)])
        if topic.startswith(self._client_presence):
            return _of_client(Kind.CLIENT_PRESENCE, topic[len(self._client_presence) :])
        if topic == self.control:
            return Place(Kind.CONTROL)
        if topic == self.presence:
            return Place(Kind.PRESENCE)
        return None


_WILD: Final = frozenset("/+#")


def _of_client(kind: Kind, client: str) -> Place | None:
    return None if check_id(client) else Place(kind, client)
