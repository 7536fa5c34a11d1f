"""How the device is on the network, in documents and in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from edged.links.mqtt.status import Health, McpStatus
from edged.links.spool.status import OK, SpoolStatus
from edged.tools.documents import NetworkDocument

NO_BROKERS: Final = NetworkDocument(state="no brokers configured")
"""Of a device that is on no network."""


def network_document(
    brokers: Sequence[str], connections: Mapping[str, Health], mcp: McpStatus, spool: SpoolStatus
) -> NetworkDocument:
    """Everything there is to say; `connections` in order of importance, by what they are for."""
    state, whole = _words(connections)
    return NetworkDocument(
        state=state,
        troubles=[*([] if whole else [state]), *_troubles(mcp, spool)],
        brokers=list(brokers),
        connections=dict(connections),
        mcp=mcp,
        spool=spool,
    )


def pulse(document: NetworkDocument) -> object:
    """What of it changes only when something has happened."""
    return replace(
        document,
        connections={name: replace(health, under_way=0) for name, health in document.connections.items()},
        spool=replace(document.spool, fleet_heard_s_ago=None) if document.spool else None,
    )


def _words(connections: Mapping[str, Health]) -> tuple[str, bool]:
    """Where the device is connected in a few words, and whether with all it has."""
    there = {name: health.broker for name, health in connections.items() if health.broker is not None}
    away = {name: health.reason for name, health in connections.items() if health.broker is None}
    brokers = " and ".join(dict.fromkeys(there.values()))
    if not away:
        return f"connected to {brokers}", True
    reason = next(iter(away.values()))
    if not there:
        return f"not connected: {reason}", False
    return f"connected to {brokers}, but not for {', '.join(away)}: {reason}", False


def _troubles(mcp: McpStatus, spool: SpoolStatus) -> Iterator[str]:
    """What is wrong beside that."""
    if mcp.identity == "yielded":
        yield f"another device serves as {mcp.server_id}: boot {mcp.rival}"
    if mcp.access == "open":
        yield "the broker lets clients use each other's topics, so nobody may do more than read over MQTT"
    if spool.disk != OK:
        yield f"what is to be told is not stored: {spool.disk}"
    if spool.keys != OK:
        yield f"what is sealed in the spool stays there: {spool.keys}"
