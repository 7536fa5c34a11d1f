from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edged.mcp.catalog import Catalog, Tier
from edged.mcp.config import McpConfig
from edged.mcp.server import Server
from tests.rig.desk import Desk, envelope
from tests.rig.offered import FULL_INFO, full_catalog

KEY = "io.modelcontextprotocol/subscriptionId"


@pytest.fixture
def offered() -> Catalog:
    return full_catalog()


@pytest.fixture
def desk(offered: Catalog) -> Desk:
    return Desk(Server(offered, FULL_INFO), Tier.ACT)


def listen(desk: Desk, request_id: int | str, **wanted: Any) -> Any:
    (granted,) = desk.begin(
        "subscriptions/listen", {"notifications": wanted, "_meta": envelope()}, request_id
    )
    return granted


def test_what_is_granted_is_what_the_peer_may_see(desk: Desk) -> None:
    granted = listen(
        desk,
        "s",
        promptsListChanged=True,
        resourceSubscriptions=[
            "test://text",
            "test://secret",
            "test://nonsense",
            "test://colours/red",
            "test://text",
        ],
    )
    assert granted["params"] == {
        "notifications": {
            "promptsListChanged": True,
            "resourceSubscriptions": ["test://text", "test://colours/red"],
        },
        "_meta": {KEY: "s"},
    }


def test_each_subscription_is_told_by_its_own_id_of_what_it_asked_for(desk: Desk, offered: Catalog) -> None:
    listen(desk, "a", resourceSubscriptions=["test://text"])
    listen(desk, 2, resourceSubscriptions=["test://text"], resourcesListChanged=True)
    before = len(desk.sent)
    offered.updated("test://text")
    assert desk.sent[before:] == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "test://text", "_meta": {KEY: request_id}},
        }
        for request_id in ("a", 2)
    ]
    offered.resources.remove("test://busy")
    assert desk.sent[-1]["method"] == "notifications/resources/list_changed"
    assert desk.sent[-1]["params"] == {"_meta": {KEY: 2}}
    assert len(desk.sent) == before + 3


def test_a_peer_that_does_not_keep_up_gets_the_newest_of_each_once_it_has_caught_up(
    desk: Desk, offered: Catalog
) -> None:
    listen(desk, "s", resourceSubscriptions=["test://text", "test://bytes"])
    before = len(desk.sent)
    desk.congested = True
    for _ in range(100):
        offered.updated("test://text")
        offered.updated("test://bytes")
    assert len(desk.sent) == before
    desk.congested = False
    desk.conversation.catch_up()
    assert [message["params"]["uri"] for message in desk.sent[before:]] == ["test://text", "test://bytes"]
    desk.conversation.catch_up()
    assert len(desk.sent) == before + 2


def test_a_handshake_peer_that_does_not_keep_up_is_held_back_too(desk: Desk, offered: Catalog) -> None:
    desk.shake_hands("2025-11-25")
    desk.congested = True
    offered.prompts.remove("greet")
    offered.prompts.remove("tell")
    before = len(desk.sent)
    desk.congested = False
    desk.conversation.catch_up()
    assert [message["method"] for message in desk.sent[before:]] == ["notifications/prompts/list_changed"]


@pytest.mark.parametrize("gone", ["cancelled", "hung up", "ended"])
def test_nothing_is_told_or_kept_after_the_end(desk: Desk, offered: Catalog, gone: str) -> None:
    server = desk._server
    desk.shake_hands("2025-11-25")
    listen(desk, "s", resourceSubscriptions=["test://text"], toolsListChanged=True)
    if gone == "cancelled":
        desk.notify("notifications/cancelled", {"requestId": "s"})
    elif gone == "ended":
        server.end_subscriptions(desk.conversation)
    if gone != "cancelled":
        desk.hang_up()
    before = len(desk.sent)
    offered.updated("test://text")
    assert len(desk.sent) == before
    if gone != "cancelled":
        assert server.subscriptions._listeners == {}


def test_what_has_risen_above_the_peers_tier_is_told_no_more(desk: Desk, offered: Catalog) -> None:
    listen(desk, "s", resourceSubscriptions=["test://text"])
    text = offered.resources.get("test://text")
    assert text is not None
    offered.put(replace(text, tier=Tier.OPERATOR))
    before = len(desk.sent)
    offered.updated("test://text")
    assert len(desk.sent) == before


def test_what_one_subscription_watches_is_bounded(offered: Catalog) -> None:
    desk = Desk(Server(offered, FULL_INFO, McpConfig(watched_max=1)))
    many = listen(desk, "s", resourceSubscriptions=["test://text", "test://bytes"])
    assert many["error"]["code"] == -31000


def test_task_notifications_are_for_those_who_declare_the_extension(desk: Desk) -> None:
    error = listen(desk, "s", taskIds=["x"])["error"]
    assert error["code"] == -32021
    assert error["data"] == {"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
