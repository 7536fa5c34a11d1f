from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edged.links.mqtt.status import McpStatus
from edged.links.spool.status import SpoolStatus
from edged.tools.documents import NetworkDocument
from edged.tools.network import NO_BROKERS, network_document, pulse
from tests.rig.documents import MCP, SPOOL, health, network

HOME, YARD = "mqtts://home.lan", "mqtts://yard.lan"


def test_a_device_without_brokers_says_so_and_finds_nothing_wrong_with_it() -> None:
    assert (NO_BROKERS.state, NO_BROKERS.troubles, NO_BROKERS.mcp) == ("no brokers configured", [], None)


@pytest.mark.parametrize(
    ("mcp", "management", "state"),
    [
        (HOME, HOME, f"connected to {HOME}"),
        (HOME, YARD, f"connected to {HOME} and {YARD}"),
        (None, None, "not connected: refused"),
        (HOME, None, f"connected to {HOME}, but not for management: refused"),
        (None, YARD, f"connected to {YARD}, but not for mcp: refused"),
    ],
)
def test_where_it_is_connected_is_said_in_words(mcp: str | None, management: str | None, state: str) -> None:
    held = network(mcp=health(mcp, "refused"), management=health(management, "refused"))
    assert held.state == state
    assert held.troubles == ([state] if "not" in state else [])


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"identity": "yielded", "rival": "b2"}, "another device serves as lab-7: boot b2"),
        ({"access": "open"}, "the broker lets clients use each other's topics"),
        ({"disk": "the disk is full"}, "what is to be told is not stored: the disk is full"),
        ({"keys": "the TPM is gone"}, "what is sealed in the spool stays there: the TPM is gone"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], trouble: str) -> None:
    part: McpStatus | SpoolStatus = SPOOL if {"disk", "keys"} & changes.keys() else MCP
    ill = msgspec.structs.replace(part, **changes)
    held = network(spool=ill) if isinstance(ill, SpoolStatus) else network(status=ill)
    (said,) = held.troubles
    assert said.startswith(trouble)


def changed(**parts: Any) -> bool:
    """Whether a subscriber is told of it."""
    return pulse(network(**parts)) != pulse(network())


def test_what_passes_by_itself_is_no_change_and_a_lost_connection_is() -> None:
    assert not changed()
    assert not changed(mcp=msgspec.structs.replace(health(), under_way=3))
    assert not changed(spool=msgspec.structs.replace(SPOOL, fleet_heard_s_ago=9.0))
    assert changed(mcp=health(None, "refused"))
    assert changed(status=msgspec.structs.replace(MCP, clients=2))


def test_the_document_holds_what_it_was_made_of() -> None:
    held = network_document([HOME], {"mcp": health(HOME)}, MCP, SPOOL)
    assert held == NetworkDocument(
        state=f"connected to {HOME}",
        brokers=[HOME],
        connections={"mcp": health(HOME)},
        mcp=MCP,
        spool=SPOOL,
    )
