"""What a server says of itself on its presence topic, and what another's says there.

Pure. Source: the public MCP-over-MQTT specification, "Service Discovery"; `meta` is free there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from edged.links.mqtt.mcp.identity import Claim, Heard
from edged.mcp import legacy, modern

COMPONENT: Final = "MCP-COMPONENT-TYPE"
CLIENT: Final = "MCP-MQTT-CLIENT-ID"
SERVER: Final = "mcp-server"
SERVER_NAME: Final = "MCP-SERVER-NAME"
"""User property of a CONNACK: the name a broker wants a server to have."""
GONE: Final = "notifications/disconnected"
_ONLINE: Final = "notifications/server/online"


class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What clients may want to know before they connect; `boot_id` and `claim` are for devices of the same id."""

    protocol_versions: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()
    max_packet_bytes: int = 0
    """The largest packet the server takes."""
    boot_id: str = ""
    claim: str = Claim.KEPT.value


class _Params(msgspec.Struct, frozen=True, kw_only=True):
    server_name: str = ""
    description: str = ""
    meta: Meta = Meta()


class _Online(msgspec.Struct, frozen=True, kw_only=True):
    jsonrpc: str = "2.0"
    method: str = _ONLINE
    params: _Params = _Params()


_decode = msgspec.json.Decoder(_Online).decode


def online(
    server_name: str,
    description: str,
    boot_id: str,
    claim: Claim,
    max_packet_bytes: int,
    content_types: tuple[str, ...],
) -> bytes:
    """The payload of a presence."""
    meta = Meta(
        protocol_versions=(*legacy.REVISIONS, *modern.SUPPORTED),
        content_types=content_types,
        max_packet_bytes=max_packet_bytes,
        boot_id=boot_id,
        claim=claim.value,
    )
    params = _Params(server_name=server_name, description=description, meta=meta)
    return msgspec.json.encode(_Online(params=params))


def heard(payload: bytes) -> Heard | None:
    """Whose presence a payload is; None where it says that nobody is there.

    What is no presence of ours never asks, so it counts as a claim that is kept.
    """
    if not payload:
        return None
    try:
        meta = _decode(payload).params.meta
    except msgspec.DecodeError:
        meta = Meta()
    return Heard(meta.boot_id[:64], Claim.NEW if meta.claim == Claim.NEW.value else Claim.KEPT)
