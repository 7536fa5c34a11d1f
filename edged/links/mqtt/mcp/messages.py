"""As much of a message as decides where it goes.

Pure. A message that cannot be read as that is left to the conversation, which says what is wrong with it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.mcp.jsonrpc import Id
from edged.mcp.modern import VERSION_KEY

_ID: Final = b'{"id":'
_RESULT: Final = b',"result":'  # no string can hold it: a quote in one has a backslash before it


class Peek(msgspec.Struct, frozen=True, gc=False):
    """A message that came."""

    method: str | UnsetType = UNSET
    id: Id | UnsetType = UNSET
    params: Raw = Raw(b"{}")

    @property
    def asks(self) -> Id | None:
        """The id of a request; None for anything else."""
        return None if self.id is UNSET or self.method is UNSET else self.id

    @property
    def handshake(self) -> bool:
        """Whether it is of the handshake era: its envelope names no version."""
        try:
            return _params(self.params).meta.version is None
        except msgspec.DecodeError:
            return True

    @property
    def cancels(self) -> Id | None:
        """Which request a cancellation is of."""
        if self.method != "notifications/cancelled":
            return None
        try:
            return _params(self.params).request_id
        except msgspec.DecodeError:
            return None


class _Meta(msgspec.Struct, frozen=True, gc=False):
    version: Any = msgspec.field(default=None, name=VERSION_KEY)


class _Params(msgspec.Struct, frozen=True, gc=False):
    meta: _Meta = msgspec.field(default=_Meta(), name="_meta")
    request_id: Id | None = msgspec.field(default=None, name="requestId")


class _Error(msgspec.Struct, frozen=True, gc=False):
    id: Id | None = None


_NOTHING: Final = Peek()
_peek = msgspec.json.Decoder(Peek).decode
_params = msgspec.json.Decoder(_Params).decode
_error = msgspec.json.Decoder(_Error).decode
_id = msgspec.json.Decoder(Id).decode


def peek(text: bytes) -> Peek:
    """What a message that came is; an empty Peek where it cannot be read."""
    try:
        return _peek(text)
    except (msgspec.DecodeError, RecursionError):
        return _NOTHING


def answered(text: bytes) -> Id | None:
    """The id of a request that a message of ours answers, without reading all of it; None for what has none."""
    if text.startswith(_ID):
        found: Id = _id(text[len(_ID) : text.index(_RESULT)])
        return found
    return _error(text).id if text.startswith(b"{") else None


def succeeded(text: bytes) -> bool:
    """Whether an answer of ours is a result that a second try would not better."""
    return text.startswith(_ID) and b'"isError":true' not in text
