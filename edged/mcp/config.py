"""Bounds of the protocol, and who may do what."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

TierName = Literal["read", "act", "operator"]
PrincipalName = Annotated[str, Meta(pattern=r"^(uid:[0-9]+|group:[^\s:]+|mqtt:[^\s+#/]+)$(?!\n)")]


class McpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one peer may ask of the daemon at once; everything has a bound."""

    line_max_bytes: Annotated[int, Meta(ge=65_536, le=268_435_456)] = 16 * 1024 * 1024
    """Longest message. Default: an 8-bit RGB frame of 2048 x 1536 as base64, with room to spare."""
    depth_max: Annotated[int, Meta(ge=16, le=512)] = 64
    """Deepest nesting of arrays and objects. Default: MCP needs 6, tensors as nested lists a few more."""
    in_flight_max: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Unfinished calls of one peer. Default: twice the deepest pipelining that still gains speed."""
    in_flight_max_bytes: Annotated[int, Meta(ge=1_048_576)] = 64 * 1024 * 1024
    """Bytes of the messages behind those calls. Default: four of the longest."""
    subscriptions_max: Annotated[int, Meta(ge=0, le=1024)] = 8
    """Open subscriptions of one peer. Default: a host opens one."""
    watched_max: Annotated[int, Meta(ge=0, le=65_536)] = 256
    """Resources and tasks one subscription watches. Default: far more than a device has models."""
    page_max: Annotated[int, Meta(ge=1, le=10_000)] = 250
    """Entries in one page of a list. Default: a page stays below 1 MiB."""
    list_ttl_ms: Annotated[int, Meta(ge=0)] = 60_000
    """Milliseconds a client may reuse a list. Default: a minute; subscribers hear of changes at once."""
    write_buffer_max_bytes: Annotated[int, Meta(ge=65_536)] = 8 * 1024 * 1024
    """Bytes waiting for a peer that does not read before it is dropped. Default: some annotated pictures."""
    receive_buffers_max_bytes: Annotated[int, Meta(ge=1_048_576)] = 128 * 1024 * 1024
    """Bytes of incomplete messages over all peers. Default: eight of the longest."""

    def __post_init__(self) -> None:
        if min(self.in_flight_max_bytes, self.receive_buffers_max_bytes) < self.line_max_bytes:
            raise ValueError("in_flight_max_bytes and receive_buffers_max_bytes must hold one line_max_bytes")


class AccessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tier a principal has.

    `read` sees status and lists, `act` runs inference, `operator` changes models, config and keys. Without an
    entry root and the daemon's own user are operators, members of the socket's group act, all others read.
    """

    principals: dict[PrincipalName, TierName] = {}
    """`uid:1000`, `group:edged-operators` or `mqtt:agent-7` to a tier. A uid's own entry decides alone; among
    groups the highest counts. Default: none."""
